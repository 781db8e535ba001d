// The loss chart: a small SVG of our own, drawn anew at every change. Lower is better.

const SVG = "http://www.w3.org/2000/svg";
const ORDER = ["ngram", "mixture", "gpt"];
export const NAMES = { gpt: "network", ngram: "n-gram", mixture: "both mixed", train: "network, training" };

function svg(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** The series to draw for a run: [{name, points: [[step, value], …]}]. `unit` is "nats" or "bits". */
export function series(run, unit) {
  const at = unit === "nats" ? 1 : 2;
  const names = Object.keys(run?.losses ?? {}).sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b));
  const drawn = names.map((name) => ({ name, points: run.losses[name].map((point) => [point[0], point[at]]) }));
  if (unit === "nats" && run?.train?.length) drawn.unshift({ name: "train", points: smooth(run.train) });
  return drawn;
}

function smooth(points) {
  let mean = points[0][1];
  const share = points.length < 30 ? 0.5 : 0.2;
  return points.map(([step, value]) => [step, (mean += share * (value - mean))]);
}

function ticks(low, high, wanted) {
  const rough = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const found = [];
  for (let value = Math.ceil(low / size) * size; value <= high + size / 1000; value += size) found.push(value);
  return found;
}

export class Chart {
  /** Draws into `host` (an element), tells what the pointer is over in `readout`. */
  constructor(host, readout) {
    this.host = host;
    this.readout = readout;
    this.drawn = [];
    this.planned = 0;
    new ResizeObserver(() => this.paint()).observe(host);
    host.addEventListener("pointermove", (event) => this.point(event));
    host.addEventListener("pointerleave", () => this.point(null));
  }

  draw(drawn, planned, best) {
    this.best = best;
    this.drawn = drawn.filter((line) => line.points.length > 0);
    this.planned = planned || 0;
    this.paint();
  }

  paint() {
    const width = Math.max(200, this.host.clientWidth);
    const height = Math.max(120, this.host.clientHeight);
    const box = { left: 34, right: 14, top: 10, bottom: 22 };
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" });
    const points = this.drawn.flatMap((line) => line.points);
    if (!points.length) return this.host.replaceChildren(picture);
    const values = points.map((point) => point[1]).filter(Number.isFinite);
    const spread = Math.max(0.2, Math.max(...values) - Math.min(...values));
    const low = Math.min(...values) - spread * 0.08;
    const high = Math.max(...values) + spread * 0.06;
    const last = Math.max(...points.map((point) => point[0]));
    const end = Math.max(10, Math.min(this.planned || Infinity, last * 1.12));
    const x = (step) => box.left + (step / Math.max(end, last)) * (width - box.left - box.right);
    const y = (value) => box.top + ((high - value) / (high - low)) * (height - box.top - box.bottom);
    this.scale = { x, width, height, box };

    for (const value of ticks(low, high, height / 45)) {
      picture.append(svg("line", { class: "grid", x1: box.left, x2: width - box.right, y1: y(value), y2: y(value) }));
      picture.append(svg("text", { class: "tick", x: box.left - 7, y: y(value) + 3.5, "text-anchor": "end" }, +value.toFixed(2)));
    }
    for (const step of ticks(0, end, width / 110)) {
      const anchor = step === 0 ? "start" : "middle";
      if (x(step) < width - 24) {
        picture.append(svg("text", { class: "tick", x: x(step), y: height - 5, "text-anchor": anchor }, step === 0 ? "step 0" : step));
      }
    }
    const main = this.drawn.find((line) => line.name === "gpt") ?? this.drawn[this.drawn.length - 1];
    for (const line of this.drawn) {
      const path = line.points.map(([step, value], at) => `${at ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
      if (line === main && line.points.length > 1) {
        const first = x(line.points[0][0]).toFixed(1);
        const right = x(line.points[line.points.length - 1][0]).toFixed(1);
        picture.append(svg("path", { class: "area", d: `${path}L${right} ${height - box.bottom}L${first} ${height - box.bottom}Z` }));
      }
      picture.append(svg("path", { class: `curve ${line.name}`, d: path }));
      const kept = line === main && line.points.find((point) => point[0] === this.best);
      if (kept && kept !== line.points[line.points.length - 1]) {
        picture.append(svg("circle", { class: "kept", cx: x(kept[0]), cy: y(kept[1]), r: 5 }));
      }
      const [step, value] = line.points[line.points.length - 1];
      if (line.name !== "train") picture.append(svg("circle", { class: `dot ${line.name}`, cx: x(step), cy: y(value), r: line === main ? 4 : 3 }));
    }
    this.cursor = svg("line", { class: "cursor", y1: box.top, y2: height - box.bottom, visibility: "hidden" });
    picture.append(this.cursor);
    this.host.replaceChildren(picture);
  }

  point(event) {
    if (!this.scale || !this.drawn.length) return;
    const { x, box, width } = this.scale;
    if (!event) {
      this.cursor.setAttribute("visibility", "hidden");
      return this.readout(null);
    }
    const at = event.clientX - this.host.getBoundingClientRect().left;
    if (at < box.left || at > width) return;
    const nearest = (line) => line.points.reduce((best, point) => (Math.abs(x(point[0]) - at) < Math.abs(x(best[0]) - at) ? point : best));
    const main = this.drawn.find((line) => line.name === "gpt") ?? this.drawn[0];
    const step = nearest(main)[0];
    this.cursor.setAttribute("x1", x(step));
    this.cursor.setAttribute("x2", x(step));
    this.cursor.setAttribute("visibility", "visible");
    this.readout({ step, values: this.drawn.map((line) => [line.name, nearest(line)[1]]) });
  }
}
