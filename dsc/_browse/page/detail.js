// One sample: all its tasks side by side, zoomed together, beside their originals.

import { ask, bytes, canBeDrawn, drawFromNowOn, make, number, picture, query } from "./api.js";

const HEAD = 34;
const FOOT = 30;
const GAP = 10;
const PAD = 12;
const CLOSEST = 64; // times
const LEAST = 180; // pixels of a panel's side
const PROBE_MS = 60;
const TITLES = { decoded: "decoded", original: "original", error: "error" };

export class Detail {
  constructor(dialog, archive, step, closed) {
    this.dialog = dialog;
    this.archive = archive;
    this.step = step;
    this.panels = dialog.querySelector("#panels");
    this.facts = dialog.querySelector("#facts");
    this.mode = "decoded";
    this.glasses = [];
    this.zoom = 1;
    this.x = this.y = 0.5; // what is in the middle, as a share of the picture
    this.found = null;
    this.compared = null;
    dialog.addEventListener("close", closed);
    dialog.addEventListener("keydown", (event) => this.key(event));
    dialog.querySelector("#previous").addEventListener("click", () => step(-1));
    dialog.querySelector("#next").addEventListener("click", () => step(1));
    dialog.querySelector("#close-detail").addEventListener("click", () => dialog.close());
    this.modes = [...dialog.querySelectorAll("#modes button")];
    for (const button of this.modes) button.addEventListener("click", () => this.show(button.dataset.mode));
    new ResizeObserver(() => this.arrange()).observe(this.panels);
  }

  get open() { return this.dialog.open; }

  async load(index, isFirst, isLast) {
    this.wanted = index;
    this.unpoint();
    this.dialog.querySelector("#previous").disabled = isFirst;
    this.dialog.querySelector("#next").disabled = isLast;
    if (!this.open) {
      this.fit();
      this.dialog.showModal();
      this.panels.focus();
      this.panels.replaceChildren();
      this.facts.replaceChildren();
    }
    let found;
    try {
      found = await ask(`/api/sample/${index}`);
    } catch (error) {
      if (this.wanted !== index) return;
      this.panels.replaceChildren(make("p", { class: "quiet", text: error.message }));
      return;
    }
    if (this.wanted !== index) return;
    this.found = found;
    this.compared = null;
    const named = found.name === found.key ? "" : ` · ${found.name}`;
    this.dialog.querySelector("#detail-key").textContent = found.key;
    const place = found.place;
    const time = place?.time_ns == null ? "" : `, ${(place.time_ns / 1e9).toFixed(3)} s`;
    const recorded = place ? ` · ${place.sequence}, frame ${number(place.frame)}${time}` : "";
    this.dialog.querySelector("#detail-place").textContent = `#${number(found.index)} · ${found.split}${named}${recorded}`;
    this.dialog.querySelector("#detail-place").title = found.name;
    this.draw();
    this.tell();
    this.compare(index);
  }

  async compare(index) {
    let found;
    try {
      found = await ask(`/api/compare/${index}`);
    } catch { return; }
    if (this.wanted !== index) return;
    this.compared = found.tasks;
    this.archive.originals = found.originals;
    this.label();
    if (this.mode !== "decoded" && !this.hasOriginals) this.show("decoded");
  }

  get hasOriginals() { return this.archive.originals.state !== "none"; }

  show(mode) {
    if (mode !== "decoded" && !this.hasOriginals) return;
    const before = this.mode;
    this.mode = mode;
    this.unpoint();
    if (this.found && (before === "all" || mode === "all" || this.glasses.length === 0)) this.draw();
    else if (this.found) this.glasses.forEach((glass) => this.source(glass, mode));
    this.label();
  }

  draw() {
    const maps = this.found.tasks.filter((task) => this.isMap(task));
    const known = this.archive.originals.tasks;
    this.dialog.classList.toggle("values", !maps.length);
    this.glasses = [];
    const nodes = [];
    for (const task of maps) {
      const whats = this.mode === "all" && known.includes(task.name) ? Object.keys(TITLES) : [this.mode === "all" ? "decoded" : this.mode];
      for (const what of whats) nodes.push(this.panel(task, what));
    }
    this.panels.replaceChildren(...nodes);
    this.arrange();
    this.label();
  }

  isMap(task) { return this.archive.tasks.find((one) => one.name === task.name)?.is_map; }

  panel(task, what) {
    const glass = { task, what, natural: task.width ? [task.width, task.height] : null };
    glass.title = make("b", { text: task.name });
    glass.note = make("span");
    glass.right = make("span", { class: "right" });
    glass.image = make("img", { alt: `${task.name}, ${what}`, draggable: "false" });
    glass.cross = make("div", { class: "cross" });
    glass.node = make("div", { class: "glass" }, glass.image, glass.cross);
    glass.foot = make("div", { class: "foot", text: "\u00a0" });
    if (task.missing || task.error) {
      glass.image.remove();
      const why = task.error || "this sample does not have it";
      glass.node.append(make("div", { class: "why", text: why }));
    } else {
      this.source(glass, what);
      this.listen(glass);
    }
    glass.box = make("section", { class: "panel" }, make("div", { class: "head" }, glass.title, glass.note, glass.right), glass.node, glass.foot);
    this.glasses.push(glass);
    return glass.box;
  }

  source(glass, what) {
    if (glass.task.missing || glass.task.error) return;
    const there = what === "decoded" || this.archive.originals.state === "looking" || this.archive.originals.tasks.includes(glass.task.name);
    glass.what = there ? what : "decoded";
    const image = new Image();
    image.decoding = "async";
    image.alt = `${glass.task.name}, ${glass.what}`;
    image.draggable = false;
    glass.coming = image;
    glass.node.classList.add("waiting");
    image.onload = () => { // the old picture stays until the new one is there
      if (glass.coming !== image) return;
      if (image.src.endsWith("/drawn")) drawFromNowOn(this.archive, glass.task.name);
      glass.node.classList.remove("waiting");
      glass.natural = [image.naturalWidth, image.naturalHeight];
      glass.image.replaceWith(image);
      glass.image = image;
      this.place(glass);
    };
    image.onerror = () => {
      if (glass.coming !== image) return;
      if (canBeDrawn(this.archive, glass.task.name, glass.what, image.src)) {
        image.src += "/drawn";
        return;
      }
      glass.node.classList.remove("waiting");
      glass.image.removeAttribute("src"); // nothing is shown under a title that it does not have
      glass.natural = null;
      glass.foot.textContent = what === "decoded" ? "cannot be shown" : `no ${what}`;
    };
    image.src = picture(this.archive, this.found.index, glass.task.name, glass.what, "whole");
  }

  // What is written around pictures.
  label() {
    for (const button of this.modes) {
      button.setAttribute("aria-pressed", button.dataset.mode === this.mode);
      button.disabled = button.dataset.mode !== "decoded" && !this.hasOriginals;
    }
    for (const glass of this.glasses) {
      const { task } = glass;
      const measured = this.compared?.[task.name];
      const parts = this.mode === "decoded" ? [] : [TITLES[glass.what]];
      const caption = glass.what === "error" ? measured?.caption : task.caption;
      if (caption) parts.push(caption);
      glass.note.textContent = parts.join(" · ");
      const cost = task.bytes === undefined ? "" : bytes(task.bytes);
      glass.right.textContent = glass.what === "decoded" ? cost : "";
      glass.right.title = task.width ? `${task.width} × ${task.height} pixels` : "";
      glass.said = measured?.metrics ? measured.metrics.join(" · ") : measured?.error || this.size(task);
      if (!glass.probed) glass.foot.textContent = glass.said;
    }
  }

  size(task) { return task.width ? `${task.width} × ${task.height}` : "\u00a0"; }

  // Choose how many panels stand beside one another so that pictures are as large as can be.
  arrange() {
    const n = this.glasses.length;
    if (!n || !this.open) return;
    const width = this.panels.clientWidth - 2 * PAD;
    const height = this.panels.clientHeight - 2 * PAD;
    const known = this.glasses.find((glass) => glass.natural)?.natural;
    const aspect = known ? Math.min(Math.max(known[0] / known[1], 0.4), 2.5) : this.archive.aspect;
    let best = { side: 0, columns: 1, height: 0 };
    for (let columns = 1; columns <= n; columns += 1) {
      if (this.mode === "all" && n % 3 === 0 && columns % 3) continue;
      const rows = Math.ceil(n / columns);
      const w = (width - GAP * (columns - 1)) / columns;
      const h = (height - GAP * (rows - 1)) / rows - HEAD - FOOT - 2;
      const side = Math.min(w, h * aspect);
      if (side > best.side) best = { side, columns, height: h };
    }
    if (best.side < LEAST) {
      const columns = Math.max(1, Math.min(n, Math.floor(width / (LEAST * 1.5))));
      best = { columns, height: (width / columns) / aspect };
    }
    this.panels.style.gridTemplateColumns = `repeat(${best.columns}, minmax(0, 1fr))`;
    for (const glass of this.glasses) {
      glass.node.style.height = `${Math.max(Math.floor(best.height), 80)}px`;
    }
    this.placeAll();
  }

  placeAll() {
    for (const glass of this.glasses) this.place(glass);
    this.dialog.querySelector("#zoom").textContent = `${Math.round(this.zoom * 100)} %`;
  }

  place(glass) {
    if (!glass.natural || !glass.image.isConnected) return;
    const [w, h] = glass.natural;
    const width = glass.node.clientWidth;
    const height = glass.node.clientHeight;
    const scale = Math.min(width / w, height / h) * this.zoom;
    const left = this.offset(width, w * scale, this.x);
    const top = this.offset(height, h * scale, this.y);
    Object.assign(glass, { scale, left, top });
    glass.image.style.width = `${w}px`;
    glass.image.style.height = `${h}px`;
    glass.image.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
    glass.image.classList.toggle("sharp", scale >= 2);
  }

  // A picture smaller than its panel stands in the middle; a larger one never leaves a gap.
  offset(room, size, middle) {
    if (size <= room) return (room - size) / 2;
    return Math.min(0, Math.max(room - size, room / 2 - middle * size));
  }

  fit() { this.zoom = 1; this.x = this.y = 0.5; }

  zoomBy(factor, glass, px, py) {
    const before = this.zoom;
    this.zoom = Math.min(CLOSEST, Math.max(1, this.zoom * factor));
    if (glass?.natural) {
      const [w, h] = glass.natural;
      const share = [(px - glass.left) / (w * glass.scale), (py - glass.top) / (h * glass.scale)];
      const scale = (glass.scale * this.zoom) / before;
      this.x = share[0] + (glass.node.clientWidth / 2 - px) / (w * scale);
      this.y = share[1] + (glass.node.clientHeight / 2 - py) / (h * scale);
    }
    this.x = Math.min(1, Math.max(0, this.x));
    this.y = Math.min(1, Math.max(0, this.y));
    if (this.zoom === 1) this.fit();
    this.placeAll();
  }

  listen(glass) {
    const node = glass.node;
    node.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = node.getBoundingClientRect();
      const lines = event.deltaMode ? 16 : 1;
      this.zoomBy(Math.exp(-event.deltaY * lines * 0.0022), glass, event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    node.addEventListener("dblclick", (event) => {
      const box = node.getBoundingClientRect();
      if (this.zoom > 1) { this.fit(); this.placeAll(); } else this.zoomBy(4, glass, event.clientX - box.left, event.clientY - box.top);
    });
    node.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      node.setPointerCapture(event.pointerId);
      this.dragged = { x: event.clientX, y: event.clientY };
      node.classList.add("moving");
    });
    node.addEventListener("pointermove", (event) => {
      if (this.dragged && glass.natural) {
        const [w, h] = glass.natural;
        this.x -= (event.clientX - this.dragged.x) / (w * glass.scale);
        this.y -= (event.clientY - this.dragged.y) / (h * glass.scale);
        const half = 0.5 / this.zoom;
        this.x = Math.min(1 - half, Math.max(half, this.x));
        this.y = Math.min(1 - half, Math.max(half, this.y));
        this.dragged = { x: event.clientX, y: event.clientY };
        this.placeAll();
      }
      const box = node.getBoundingClientRect();
      this.point(glass, event.clientX - box.left, event.clientY - box.top);
    });
    const end = () => { this.dragged = null; node.classList.remove("moving"); };
    node.addEventListener("pointerup", end);
    node.addEventListener("pointercancel", end);
    node.addEventListener("pointerleave", () => this.unpoint());
  }

  // Show the same place in all pictures, and what is there.
  point(glass, px, py) {
    if (!glass.natural) return;
    const [w, h] = glass.natural;
    const x = (px - glass.left) / (w * glass.scale);
    const y = (py - glass.top) / (h * glass.scale);
    if (x < 0 || y < 0 || x >= 1 || y >= 1) { this.unpoint(); return; }
    for (const one of this.glasses) {
      if (!one.natural || !one.scale) continue;
      one.cross.style.transform = `translate(${one.left + x * one.natural[0] * one.scale}px, ${one.top + y * one.natural[1] * one.scale}px)`;
      one.cross.classList.toggle("seen", one !== glass);
    }
    clearTimeout(this.probing);
    this.probing = setTimeout(() => this.probe(x, y), PROBE_MS);
  }

  unpoint() {
    clearTimeout(this.probing);
    this.probes?.abort();
    for (const one of this.glasses) {
      one.cross.classList.remove("seen");
      one.probed = false;
      one.foot.textContent = one.said || "\u00a0";
    }
  }

  async probe(x, y) {
    this.probes?.abort();
    const controller = (this.probes = new AbortController());
    await Promise.all(this.glasses.map(async (glass) => {
      if (!glass.natural || glass.task.missing || glass.task.error) return;
      const place = { x: Math.floor(x * (glass.task.width ?? glass.natural[0])), y: Math.floor(y * (glass.task.height ?? glass.natural[1])) };
      try {
        const found = await ask(`/api/pixel/${this.found.index}/${glass.task.name}?${query({ ...place, what: glass.what })}`, controller.signal);
        glass.probed = true;
        glass.foot.replaceChildren(`${place.x}, ${place.y}: `, make("b", { text: found.text }));
      } catch { /* nothing is there to be told */ }
    }));
  }

  // Values that are no pictures, and where the sample came from.
  tell() {
    const nodes = this.found.tasks.filter((task) => !this.isMap(task)).map((task) => this.fact(task));
    const paths = Object.entries(this.found.files);
    if (this.found.name !== this.found.key || paths.length) {
      const list = [make("p", { text: this.found.name })];
      for (const [task, path] of paths) list.push(make("p", { class: "quiet", text: `${task}: ${path}` }));
      nodes.push(make("section", { class: "fact" }, make("h3", { text: "In the source" }), ...list));
    }
    this.facts.hidden = !nodes.length;
    this.facts.replaceChildren(...nodes);
    this.arrange();
  }

  fact(task) {
    const described = this.archive.tasks.find((one) => one.name === task.name);
    const cost = task.bytes === undefined ? "" : bytes(task.bytes);
    const head = make("h3", {}, task.name, make("small", { text: described?.media_type || task.kind }), make("small", { class: "right", text: cost }));
    const node = make("section", { class: "fact" }, head);
    if (task.error) node.append(make("p", { class: "quiet", text: task.error }));
    else if (task.missing) node.append(make("p", { class: "quiet", text: "this sample does not have it" }));
    else this.value(node, task);
    return node;
  }

  value(node, task) {
    const path = `/file/${this.archive.version}/${this.found.index}/${task.name}`;
    if (task.form === "json") node.append(json(task.text, task.cut));
    else if (task.form === "numbers") node.append(make("pre", { class: "numbers", text: task.text }));
    else node.append(make("p", { text: task.text || "(empty)" }));
    const kind = (task.played || "").split("/")[0];
    if (kind === "audio" || kind === "video") node.append(make(kind, { controls: "", preload: "none", src: path }));
    if (kind === "image") node.append(make("img", { src: path, alt: task.name }));
    if (task.form === "file" || task.cut) {
      node.append(make("p", {}, make("a", { href: path, download: `${this.found.key}.${task.name}`, text: task.cut ? "all of it" : "download" })));
    }
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const modes = { 1: "decoded", 2: "original", 3: "error", 4: "all" };
    if (event.key === "ArrowLeft") this.step(-1);
    else if (event.key === "ArrowRight") this.step(1);
    else if (event.key in modes) this.show(modes[event.key]);
    else if (event.key === " " && event.target.tagName !== "BUTTON") this.show(this.mode === "original" ? "decoded" : "original");
    else if (event.key === "+" || event.key === "=") this.zoomBy(1.5);
    else if (event.key === "-" || event.key === "−") this.zoomBy(1 / 1.5);
    else if (event.key === "0") { this.fit(); this.placeAll(); } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

// JSON, indented, its parts coloured; what is no JSON as it is. Numbers are shown digit by digit.
function json(text, cut) {
  const box = make("pre");
  let shown = text;
  try {
    if (!cut && JSON.parse(text) !== undefined) shown = indented(text);
  } catch { /* shown as it is */ }
  const parts = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)/g;
  let at = 0;
  for (const match of shown.matchAll(parts)) {
    box.append(shown.slice(at, match.index));
    const kind = match[2] !== undefined ? "json-key" : match[1] !== undefined ? "json-text" : "json-number";
    box.append(make("span", { class: kind, text: match[1] ?? match[3] }), match[2] ?? "");
    at = match.index + match[0].length;
  }
  box.append(shown.slice(at));
  return box;
}

// Indent JSON without reading its numbers, which may be longer than JavaScript's.
function indented(text) {
  const parts = text.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s"[\]{},:]+/g) || [];
  let depth = 0;
  let out = "";
  const line = () => `\n${"  ".repeat(depth)}`;
  parts.forEach((part, at) => {
    const closes = part === "]" || part === "}";
    const wasOpen = "[{".includes(parts[at - 1] ?? " ");
    if (closes) {
      depth -= 1;
      out += wasOpen ? part : line() + part;
      return;
    }
    if (wasOpen) out += line();
    out += part === ":" ? ": " : part;
    if (part === ",") out += line();
    if (part === "[" || part === "{") depth += 1;
  });
  return out;
}
