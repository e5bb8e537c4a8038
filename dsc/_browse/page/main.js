// Puts the page together, and keeps what is looked at in the address.

import { ask, counted, make, notice, number, query } from "./api.js";
import { Detail } from "./detail.js";
import { Grid } from "./grid.js";
import { Overview } from "./overview.js";

const byId = (id) => document.getElementById(id);
const POLL_MS = 400;
const state = { split: "", by: "", group: "", where: "", maps: [], values: [], size: "m" };
let archive, grid, detail, overview;

async function begin() {
  try {
    archive = await ask("/api/archive");
  } catch (error) {
    byId("title").textContent = "The archive cannot be shown";
    byId("subtitle").textContent = error.message;
    document.body.className = "";
    return;
  }
  document.title = `${archive.title} · dsc`;
  byId("title").textContent = archive.title;
  byId("title").title = archive.url;
  grid = new Grid(byId("scroller"), byId("space"), archive, open);
  detail = new Detail(byId("detail"), archive, step, closed);
  overview = new Overview(byId("overview"), byId("overview-body"), archive);
  const asked = new URLSearchParams(location.hash.slice(1));
  choices(asked);
  chips();
  listen();
  byId("subtitle").textContent = "\u2026";
  document.body.className = "";
  await select(asked.get("group") || "");
  if (state.where) await filter(state.where);
  if (asked.has("at")) grid.choose(Number(asked.get("at")) || 0);
  if (asked.has("sample")) await go(Number(asked.get("sample")) || 0);
  byId("scroller").focus({ preventScroll: true });
  originals();
}

function choices(asked) {
  const maps = archive.tasks.filter((task) => task.is_map).map((task) => task.name);
  const values = archive.tasks.filter((task) => !task.is_map).map((task) => task.name);
  const wanted = asked.has("show") ? asked.get("show").split(",") : null;
  state.maps = wanted ? maps.filter((name) => wanted.includes(name)) : maps.slice(0, 1);
  const told = archive.tasks.filter((task) => ["class", "text"].includes(task.kind)).map((task) => task.name);
  state.values = wanted ? values.filter((name) => wanted.includes(name)) : (maps.length ? told.slice(0, 1) : values.slice(0, 3));
  state.size = ["s", "m", "l"].includes(asked.get("size")) ? asked.get("size") : "m";
  state.split = archive.splits.some((one) => one.name === asked.get("split")) ? asked.get("split") : "";
  state.where = asked.get("where") || "";
  byId("filter-text").value = state.where;
  byId("filter-text").placeholder = `Filter: ${example()}`;
  state.by = archive.groupings.includes(asked.get("by")) ? asked.get("by") : "";
  options(byId("split"), [["", `all (${number(archive.samples)})`], ...archive.splits.map((one) => [one.name, `${one.name} (${number(one.count)})`])], state.split);
  byId("split-box").hidden = archive.splits.length < 2;
  options(byId("by"), [["", "nothing"], ...archive.groupings.map((name) => [name, name])], state.by);
}

// A condition that could be asked of this archive.
function example() {
  const kinds = { class: (name) => `${name} == 3`, text: (name) => `'word' in ${name}`, scalar: (name) => `${name} > 0.5` };
  const task = archive.tasks.find((one) => one.kind in kinds);
  if (task) return kinds[task.kind](task.name);
  return archive.splits.length > 1 ? `split == '${archive.splits[1].name}'` : "index < 100";
}

function options(box, values, chosen) {
  box.replaceChildren(...values.map(([value, text]) => make("option", { value, text })));
  box.value = chosen;
}

function chips() {
  const nodes = archive.tasks.map((task) => {
    const kind = task.is_map ? "" : " value";
    const chip = make("button", { type: "button", class: `chip${kind}`, title: `${task.kind}, ${task.codec}` },
      task.name, make("small", { text: task.kind === task.name ? "" : task.kind }));
    const list = task.is_map ? "maps" : "values";
    const press = () => chip.setAttribute("aria-pressed", state[list].includes(task.name));
    chip.addEventListener("click", () => {
      const on = state[list].includes(task.name);
      const order = archive.tasks.map((one) => one.name);
      state[list] = on ? state[list].filter((name) => name !== task.name) : [...state[list], task.name];
      state[list].sort((a, b) => order.indexOf(a) - order.indexOf(b));
      press();
      show();
    });
    press();
    return chip;
  });
  byId("chips").replaceChildren(...nodes, make("span", { class: "state", id: "originals", text: "\u00a0" }));
}

function listen() {
  byId("split").addEventListener("change", (event) => { state.split = event.target.value; select(state.group); });
  byId("by").addEventListener("change", (event) => { state.by = event.target.value; select(""); });
  byId("group").addEventListener("change", (event) => { state.group = event.target.value; select(state.group); });
  for (const button of byId("sizes").children) {
    button.addEventListener("click", () => { state.size = button.dataset.size; show(); });
  }
  byId("open-overview").addEventListener("click", () => overview.open());
  byId("open-help").addEventListener("click", () => byId("help").showModal());
  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  for (const dialog of document.querySelectorAll(".sheet")) {
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }
  byId("filter").addEventListener("submit", (event) => { event.preventDefault(); filter(byId("filter-text").value.trim()); });
  byId("filter-text").addEventListener("search", (event) => { if (!event.target.value && state.where) filter(""); });
  byId("find").addEventListener("submit", (event) => { event.preventDefault(); find(byId("find-text").value); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
      if (event.key === "Escape") byId("scroller").focus();
      return;
    }
    if (event.key === "?") byId("help").showModal();
    else if (document.querySelector("dialog[open]")) return;
    else if (event.key === "/") byId("find-text").focus();
    else if (event.key === "f") byId("filter-text").focus();
    else if (event.key === "i") overview.open();
    else return;
    event.preventDefault();
  });
}

const selection = () => ({ where: state.where || null, split: state.split || null, by: state.group === "" ? null : state.by || null, group: state.group === "" ? null : state.group });

// Look at a split and a group of it.
async function select(group) {
  state.group = "";
  byId("group-box").hidden = !state.by;
  if (state.by) {
    options(byId("group"), [["", "…"]], "");
    const by = state.by;
    const found = await groups(by);
    if (state.by !== by) return;
    if (!found) { state.by = byId("by").value = ""; byId("group-box").hidden = true; } else {
      options(byId("group"), [["", `all ${number(found.length)}`], ...found.map((one, at) => [String(at), `${one.label} (${number(one.count)})`])], "");
      state.group = found[Number(group)] && group !== "" ? String(Number(group)) : "";
      byId("group").value = state.group;
    }
  }
  await show(true);
}

async function filter(where) {
  const before = state.where;
  state.where = where;
  const box = byId("filter-text");
  box.classList.remove("wrong");
  if (await show(true)) {
    box.classList.toggle("on", where !== "");
    if (shownTotal) byId("scroller").focus({ preventScroll: true });
  } else {
    box.classList.add("wrong");
    state.where = before;
  }
}

async function groups(by) {
  for (;;) {
    let found;
    try {
      found = await ask(`/api/groups?${query({ by })}`);
    } catch (error) { found = { error: error.message }; }
    if (found.error) { notice(found.error); return null; }
    if (found.groups) return found.groups;
    byId("group").firstElementChild.textContent = `reading ${Math.floor((100 * found.done) / Math.max(found.total, 1))} %`;
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

let shownSelection = {};
let shownTotal = 0;
async function show(anew = false) {
  for (const button of byId("sizes").children) button.setAttribute("aria-pressed", button.dataset.size === state.size);
  if (anew) {
    const wanted = selection();
    byId("subtitle").textContent = "\u2026";
    try {
      shownTotal = (await ask(`/api/samples?${query({ ...wanted, start: 0, count: 0 })}`)).total;
    } catch (error) { notice(error.message); counts(); return false; }
    shownSelection = wanted;
  }
  byId("empty").hidden = shownTotal > 0;
  byId("empty").textContent = "No samples here";
  counts();
  grid.show({ total: shownTotal, selection: shownSelection, maps: state.maps, values: state.values, size: state.size });
  remember();
  return true;
}

function counts() {
  const part = shownTotal === archive.samples ? counted(shownTotal, "sample") : `${number(shownTotal)} of ${counted(archive.samples, "sample")}`;
  byId("subtitle").textContent = `${part} · ${archive.source} · ${archive.made_by}`;
}

async function open(place) {
  const item = await grid.item(place);
  if (!item) return;
  await detail.load(item.index, place === 0, place === grid.total - 1);
  remember();
}

function step(by) {
  const to = grid.chosen + by;
  if (to < 0 || to >= grid.total) return;
  grid.choose(to, true);
}

function closed() {
  byId("scroller").focus({ preventScroll: true });
  remember();
}

// Go to a sample of the archive: in the selection if it is there, else in all.
async function go(index) {
  let found = await ask(`/api/find?${query({ q: `#${index}`, ...selection() })}`);
  if (found.index === null) return;
  if (found.position === null) {
    state.split = byId("split").value = "";
    state.by = byId("by").value = "";
    state.where = byId("filter-text").value = "";
    byId("filter-text").className = "";
    await select("");
    found = { ...found, position: found.index };
  }
  grid.choose(found.position, true);
}

async function find(text) {
  if (!text.trim()) return;
  try {
    const found = await ask(`/api/find?${query({ q: text, ...selection() })}`);
    if (found.index === null) { notice(`No key holds “${text.trim()}”`); return; }
    if (found.position === null) notice(`${found.key} is not in this selection: showing all samples`);
    await go(found.index);
    byId("find-text").blur();
  } catch (error) { notice(error.message); }
}

function remember() {
  const told = query({
    where: state.where, split: state.split, by: state.by, group: state.group, size: state.size === "m" ? "" : state.size,
    show: [...state.maps, ...state.values].join(","), at: grid.chosen || "",
    sample: detail.open ? detail.wanted : "",
  });
  history.replaceState(null, "", `#${told}`);
}

async function originals() {
  const box = byId("originals");
  for (;;) {
    const found = await ask("/api/originals").catch(() => null);
    if (!found) return;
    archive.originals = found;
    box.textContent = found.note;
    box.title = found.note;
    box.className = `state ${found.state}`;
    detail.label();
    if (found.state !== "looking") return;
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

begin();
