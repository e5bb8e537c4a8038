// What tasks cost: bytes, ratios, and how bytes are spread over samples.

import { ask, bytes, counted, make, number } from "./api.js";

const LEAST_BARS = 24;
const NS = "http://www.w3.org/2000/svg";

export class Overview {
  constructor(dialog, body, archive) {
    this.dialog = dialog;
    this.body = body;
    this.archive = archive;
    this.drawn = false;
  }

  open() {
    this.dialog.showModal();
    if (this.drawn) return;
    this.drawn = true;
    this.draw();
  }

  draw() {
    const { bytes: whole, streams } = this.archive;
    const ratio = whole.ratio ? `${whole.ratio.toFixed(2)} ×` : "–";
    const figures = [
      [number(whole.samples), "samples"],
      [bytes(whole.source_bytes), "source files"],
      [bytes(whole.stored_bytes), "stored"],
      [ratio, "smaller"],
    ];
    if (whole.codec_bytes) figures.push([bytes(whole.codec_bytes), "codec files"]);
    if (whole.n_failed) figures.push([number(whole.n_failed), "unreadable"]);
    const top = make("div", { class: "figures" });
    for (const [value, label] of figures) {
      top.append(make("div", { class: "figure" }, make("b", { text: value }), make("span", { text: label })));
    }
    const most = Math.max(...whole.rows.map((row) => row.stored_bytes), 1);
    const list = make("div", { class: "streams" });
    const waiting = [];
    for (const row of whole.rows) {
      const plot = make("div", { class: "histogram quiet", text: streams.includes(row.name) ? "…" : "" });
      list.append(this.row(row, most, plot));
      if (streams.includes(row.name)) waiting.push([row.name, plot]);
    }
    const note = make("p", {
      class: "quiet",
      text: "Histograms: bytes of a sample's bitstream, over packs that are spread evenly; of packs that are compressed as a whole, before that. Bars: stored bytes, beside the largest.",
    });
    this.body.replaceChildren(top, list, note);
    this.fill(waiting);
  }

  row(row, most, plot) {
    const missing = row.missing ? `, ${number(row.missing)} missing` : "";
    const name = make("div", {},
      make("h3", { text: row.name }),
      make("p", { text: `${row.kind} · ${row.codec}${missing}` }));
    const fill = make("i");
    fill.style.width = `${(100 * row.stored_bytes) / most}%`;
    const ratio = row.ratio ? `${row.ratio.toFixed(2)} ×` : "";
    const source = row.source_bytes ? ` of ${bytes(row.source_bytes)}` : "";
    const cost = make("div", {},
      make("span", { class: "ratio", text: ratio }),
      make("div", { class: "bar" }, fill),
      make("p", { text: `${bytes(row.stored_bytes)}${source}; fetched alone ${bytes(row.alone_bytes)}` }));
    return make("div", { class: "stream" }, name, cost, plot);
  }

  async fill(waiting) {
    for (const [stream, plot] of waiting) {
      try {
        const found = await ask(`/api/sizes/${stream}`);
        plot.replaceChildren(...histogram(found));
      } catch (error) {
        plot.textContent = error.message;
      }
    }
  }
}

function histogram(found) {
  if (!found.counts) return [make("p", { text: "no bytes" })];
  const svg = document.createElementNS(NS, "svg");
  const n = Math.max(found.counts.length, LEAST_BARS);
  const left = (n - found.counts.length) / 2;
  const most = Math.max(...found.counts);
  svg.setAttribute("viewBox", `0 0 ${n} 42`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${counted(found.samples, "sample")}, median ${bytes(found.median)}`);
  found.counts.forEach((count, at) => {
    if (!count) return;
    const bar = document.createElementNS(NS, "rect");
    const height = Math.max((count / most) * 42, 1);
    bar.setAttribute("x", left + at + 0.08);
    bar.setAttribute("width", 0.84);
    bar.setAttribute("y", 42 - height);
    bar.setAttribute("height", height);
    svg.append(bar);
  });
  return [svg, make("p", {},
    make("span", { text: bytes(found.least) }),
    make("span", { text: `median ${bytes(found.median)}` }),
    make("span", { text: bytes(found.most) }))];
}
