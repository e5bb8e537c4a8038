// A grid of any number of samples: only tiles that are seen are made, and only they are asked for.

import { ask, canBeDrawn, drawFromNowOn, make, number, picture, query } from "./api.js";

const GAP = 12;
const EDGE = 18;
const LINE = 18;
const NARROW = 150; // pixels of a tile that leave no room for a number
const HEAD = 25; // of a tile: key, number, and its border
const WIDTHS = { s: 112, m: 168, l: 280 }; // pixels of a picture
const TEXT_WIDTHS = { s: 190, m: 290, l: 440 }; // of a tile without one
const SETTLED_MS = 70; // a tile that is passed by faster asks for nothing
const KEPT_ITEMS = 4000;

export class Grid {
  static tallest = 8_000_000; // pixels that every browser scrolls through

  constructor(scroller, space, archive, onOpen) {
    this.scroller = scroller;
    this.space = space;
    this.archive = archive;
    this.onOpen = onOpen;
    this.total = 0;
    this.selection = {};
    this.maps = [];
    this.values = [];
    this.size = "m";
    this.chosen = 0;
    this.items = new Map(); // by place in the selection
    this.tiles = new Map();
    this.spare = [];
    this.asked = new Map(); // places that an answer is awaited for
    this.shift = 0; // how far tiles lie above where they would without a limit of height
    this.last = 0;
    this.drawing = 0;
    this.timer = 0;
    scroller.addEventListener("scroll", () => this.schedule(), { passive: true });
    scroller.addEventListener("click", (event) => this.click(event));
    scroller.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.resize()).observe(scroller);
  }

  // What is shown: a selection of samples, maps as pictures, values as lines of text.
  show({ total, selection, maps, values, size }) {
    const moved = selection !== this.selection;
    const relabelled = moved || values.join() !== this.values.join();
    Object.assign(this, { total, selection, maps, values, size });
    if (moved) this.chosen = 0;
    if (relabelled) {
      this.items.clear();
      for (const one of this.asked.values()) one.abort();
      this.asked.clear();
    }
    for (const tile of this.tiles.values()) tile.node.remove();
    this.tiles.clear();
    this.spare = [];
    const top = moved ? 0 : this.chosen;
    this.resize(moved ? 0 : top);
  }

  // Lines of text that a value gets.
  lines(name) {
    return this.archive.tasks.find((task) => task.name === name)?.kind === "text" ? 2 : 1;
  }

  resize(keep) {
    const width = this.scroller.clientWidth - 2 * EDGE;
    if (width <= 0 || !this.maps) return;
    const first = keep ?? (this.geometry ? Math.floor(this.top() / this.geometry.row) * this.geometry.columns : 0);
    const pictures = Math.max(this.maps.length, 1);
    const single = (this.maps.length ? WIDTHS : TEXT_WIDTHS)[this.size];
    const wanted = Math.min(single * pictures + pictures - 1, width);
    const columns = Math.max(1, Math.round((width + GAP) / (wanted + GAP)));
    const tile = Math.floor((width - GAP * (columns - 1)) / columns);
    const cell = (tile - 2 - (pictures - 1)) / pictures;
    const picture = this.maps.length ? Math.round(cell / this.archive.aspect) : 0;
    const lines = this.values.reduce((sum, name) => sum + this.lines(name), 0);
    const height = picture + HEAD + LINE * lines + 7;
    const rows = Math.ceil(this.total / columns);
    const whole = rows ? rows * (height + GAP) - GAP + 2 * EDGE : 0;
    this.geometry = { columns, tile, picture, height, row: height + GAP, rows, whole, left: EDGE };
    this.geometry.shown = Math.min(whole, Grid.tallest);
    this.space.style.height = `${this.geometry.shown}px`;
    this.shift = 0;
    this.reach(Math.floor(first / columns) * this.geometry.row);
    this.draw(true);
  }

  // The top of what is seen, in pixels of the whole grid.
  top() { return this.last + this.shift; }

  // Scroll so that a pixel of the whole grid is at the top.
  reach(top) {
    const { whole, shown } = this.geometry;
    const height = this.scroller.clientHeight;
    const most = Math.max(whole - height, 0);
    const wanted = Math.min(Math.max(top, 0), most);
    const room = Math.max(shown - height, 0);
    const place = whole > shown ? Math.round((wanted / most) * room) : wanted;
    this.scroller.scrollTop = place;
    this.last = this.scroller.scrollTop;
    this.shift = wanted - this.last;
  }

  schedule() {
    if (!this.drawing) this.drawing = requestAnimationFrame(() => { this.drawing = 0; this.scrolled(); });
  }

  scrolled() {
    const now = this.scroller.scrollTop;
    const { whole, shown } = this.geometry;
    if (whole > shown) {
      // near: move as far as the wheel says; far, or at an end: go to the same share of the whole
      const height = this.scroller.clientHeight;
      const room = shown - height;
      const far = Math.abs(now - this.last) > 3 * height;
      if (far || now <= 0 || now >= room - 1) {
        this.shift = Math.round((now / room) * (whole - height)) - now;
      }
      this.shift = Math.min(Math.max(this.shift, -now), whole - height - now);
    }
    this.last = now;
    this.draw(false);
  }

  // Place the tiles that are seen.
  draw(anew) {
    const g = this.geometry;
    if (!g) return;
    const top = this.top();
    const firstRow = Math.max(0, Math.floor((top - EDGE) / g.row));
    const lastRow = Math.min(g.rows - 1, Math.floor((top + this.scroller.clientHeight - EDGE) / g.row));
    const first = firstRow * g.columns;
    const last = Math.min(this.total, (lastRow + 1) * g.columns);
    for (const [place, tile] of this.tiles) {
      if (place < first || place >= last) this.release(place, tile);
    }
    for (let place = first; place < last; place += 1) {
      let tile = this.tiles.get(place);
      if (!tile) tile = this.take(place);
      const x = g.left + (place % g.columns) * (g.tile + GAP);
      const y = EDGE + Math.floor(place / g.columns) * g.row - this.shift;
      tile.node.style.transform = `translate(${x}px, ${y}px)`;
      if (anew || tile.fresh) {
        tile.node.style.width = `${g.tile}px`;
        tile.node.style.height = `${g.height}px`;
        tile.node.classList.toggle("narrow", g.tile < NARROW);
        for (const cell of tile.cells) cell.style.height = `${g.picture}px`;
      }
      if (tile.fresh) this.fill(place, tile);
      tile.fresh = false;
    }
    clearTimeout(this.timer);
    this.load();
  }

  take(place) {
    const tile = this.spare.pop() || this.build();
    tile.fresh = true;
    tile.since = performance.now();
    tile.loaded = false;
    tile.node.id = `tile-${place}`;
    tile.node.dataset.place = place;
    tile.node.hidden = false;
    this.tiles.set(place, tile);
    if (!tile.node.isConnected) this.space.append(tile.node);
    return tile;
  }

  release(place, tile) {
    this.tiles.delete(place);
    tile.node.hidden = true;
    for (const cell of tile.cells) this.clear(cell);
    this.spare.push(tile);
  }

  build() {
    const cells = this.maps.map(() => make("div", { class: "cell" }));
    const key = make("b", { class: "key" });
    const place = make("span", { class: "number" });
    const lines = this.values.map((name) => make("p", { class: this.lines(name) > 1 ? "value long" : "value", "data-name": name }));
    const line = make("div", { class: "line" }, key, place);
    const node = make("article", { class: "tile", role: "gridcell" });
    if (cells.length) node.append(make("div", { class: "pictures" }, ...cells));
    node.append(line, ...lines);
    return { node, cells, key, place, lines, fresh: true, loaded: false, since: 0 };
  }

  clear(cell) {
    cell.className = "cell";
    delete cell.dataset.why;
    const image = cell.firstElementChild;
    if (image) {
      image.onload = image.onerror = null;
      image.removeAttribute("src"); // a picture that is still on its way is given up
      image.remove();
    }
  }

  fill(place, tile) {
    const item = this.items.get(place);
    tile.node.classList.toggle("chosen", place === this.chosen);
    tile.node.setAttribute("aria-selected", place === this.chosen);
    tile.key.textContent = item ? item.key : "\u00a0";
    tile.key.title = item ? item.key : "";
    tile.place.textContent = item ? `#${number(item.index)}` : "";
    for (const line of tile.lines) {
      const value = item ? item.values[line.dataset.name] : "";
      line.textContent = value === null ? `no ${line.dataset.name}` : value || "\u00a0";
      line.title = value || "";
    }
  }

  // Ask for what is seen and has been for a moment.
  load() {
    const now = performance.now();
    const settled = [...this.tiles].filter(([, tile]) => now - tile.since >= SETTLED_MS);
    if (settled.length < this.tiles.size) {
      this.timer = setTimeout(() => this.load(), SETTLED_MS / 2);
    }
    const missing = settled.map(([place]) => place).filter((place) => !this.items.has(place) && !this.asked.has(place));
    if (missing.length) this.list(Math.min(...missing), Math.max(...missing) + 1);
    for (const [place, controller] of this.asked) {
      if (!this.tiles.has(place)) { controller.left.delete(place); this.asked.delete(place); }
      if (!controller.left.size) controller.abort();
    }
    for (const [place, tile] of settled) this.picture(place, tile);
  }

  async list(start, stop) {
    const controller = new AbortController();
    controller.left = new Set();
    for (let place = start; place < stop; place += 1) {
      controller.left.add(place);
      this.asked.set(place, controller);
    }
    const asked = { ...this.selection, start, count: Math.min(stop - start, 400), values: this.values.join(",") };
    const selection = this.selection;
    try {
      const found = await ask(`/api/samples?${query(asked)}`, controller.signal);
      if (selection !== this.selection) return;
      found.items.forEach((item, at) => this.items.set(start + at, item));
      while (this.items.size > KEPT_ITEMS) this.items.delete(this.items.keys().next().value);
    } catch (error) {
      if (error.name !== "AbortError") console.warn(error.message);
      return;
    } finally {
      for (const place of controller.left) if (this.asked.get(place) === controller) this.asked.delete(place);
    }
    for (const [place, tile] of this.tiles) if (place >= start && place < stop) this.fill(place, tile);
    this.load();
  }

  picture(place, tile) {
    const item = this.items.get(place);
    if (!item || tile.loaded) return;
    tile.loaded = true;
    tile.cells.forEach((cell, at) => {
      const task = this.maps[at];
      const image = make("img", { alt: `${task} of ${item.key}`, decoding: "async", draggable: "false" });
      image.onload = () => {
        image.classList.add("ready");
        image.classList.toggle("sharp", 2 * image.naturalWidth <= cell.clientWidth);
        if (image.src.endsWith("/drawn")) drawFromNowOn(this.archive, task);
      };
      image.onerror = () => {
        if (canBeDrawn(this.archive, task, "decoded", image.src)) {
          image.src += "/drawn";
          return;
        }
        this.clear(cell);
        cell.classList.add("none");
        cell.dataset.why = `no ${task}`;
      };
      image.src = picture(this.archive, item.index, task, "decoded", "thumb");
      cell.append(image);
    });
  }

  choose(place, open) {
    if (!this.total) return;
    const before = this.tiles.get(this.chosen);
    this.chosen = Math.min(Math.max(place, 0), this.total - 1);
    if (before) before.node.classList.remove("chosen");
    const g = this.geometry;
    const y = EDGE + Math.floor(this.chosen / g.columns) * g.row;
    const height = this.scroller.clientHeight;
    if (y - EDGE < this.top()) this.reach(y - EDGE);
    else if (y + g.height + EDGE > this.top() + height) this.reach(y + g.height + EDGE - height);
    this.draw(false);
    const tile = this.tiles.get(this.chosen);
    if (tile) this.fill(this.chosen, tile);
    this.scroller.setAttribute("aria-activedescendant", `tile-${this.chosen}`);
    if (open) this.onOpen(this.chosen);
  }

  // Return what is known of a place, asking for it if need be.
  async item(place) {
    if (!this.items.has(place)) {
      const asked = { ...this.selection, start: place, count: 1, values: this.values.join(",") };
      const found = await ask(`/api/samples?${query(asked)}`);
      if (found.items.length) this.items.set(place, found.items[0]);
    }
    return this.items.get(place);
  }

  click(event) {
    const tile = event.target.closest(".tile");
    if (tile) this.choose(Number(tile.dataset.place), true);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const g = this.geometry;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / g.row)) * g.columns;
    const steps = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -g.columns, ArrowDown: g.columns, PageUp: -page, PageDown: page,
    };
    if (event.key in steps) {
      const to = this.chosen + steps[event.key];
      const inside = to >= 0 && to < this.total;
      this.choose(inside || event.key.startsWith("Page") ? to : this.chosen);
    } else if (event.key === "Home") this.choose(0);
    else if (event.key === "End") this.choose(this.total - 1);
    else if (event.key === "Enter") this.choose(this.chosen, true);
    else return;
    event.preventDefault();
  }
}
