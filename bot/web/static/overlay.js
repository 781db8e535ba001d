// The overlay for OBS: what the companion says, its loss, its samples, its progress. Comes back by itself for ever.

import { Chart, series } from "./chart.js";
import { element, words } from "./lines.js";
import { follow } from "./live.js";

const options = document.body.dataset;
const panels = (options.panels ?? "").split(",").filter(Boolean);
const shown = {};
const lines = Number(options.lines ?? 2);
const holdMs = Number(options.hold ?? 25) * 1000;
const number = new Intl.NumberFormat("en");
document.body.style.zoom = options.scale ?? "1";

for (const name of panels) {
  shown[name] = element("section", `panel ${name}`);
  if (name !== "say") shown[name].hidden = true;
  document.body.append(shown[name]);
}

let chart = null;
if (shown.loss) {
  shown.loss.append(element("span", "fall"), element("span", "value"), element("span", "unit", "nats a token"), element("div", "chart"));
}
if (shown.samples) {
  for (const [name, title] of [["first", "Untrained"], ["newest", "Now"]]) {
    const half = element("div", name);
    half.append(element("h2", "", title), element("p"));
    shown.samples.append(half);
  }
}
if (shown.status) {
  const bar = element("div", "bar");
  bar.append(element("i"));
  shown.status.append(element("div", "text"), bar);
}

function say(line) {
  if (!shown.say || !line.own) return;
  const left = holdMs ? holdMs - (Date.now() - line.at_ms) : Infinity;
  if (left <= 0) return;
  const item = element("div", "said");
  item.dataset.id = line.id;
  item.dataset.login = line.login;
  // What a viewer wrote is repeated here only where it passed the same gate as the companion's own lines.
  item.dataset.askedId = line.reply?.id ?? "";
  item.dataset.asker = line.reply?.login ?? "";
  if (line.reply?.shown) item.append(element("span", "asked", `${line.reply.name}: ${line.reply.shown}`));
  item.append(element("span", "bot", "BOT"), element("span", "name", line.name), words(line));
  shown.say.append(item);
  while (shown.say.children.length > lines) shown.say.firstChild.remove();
  if (left === Infinity) return;
  setTimeout(() => item.classList.add("leaving"), left);
  setTimeout(() => item.remove(), left + 700);
}

function drop(matches) {
  for (const item of [...(shown.say?.children ?? [])]) {
    if (matches(item.dataset)) item.remove();
    // An answer stays, what it repeats of a deleted question goes.
    else if (matches({ id: item.dataset.askedId, login: item.dataset.asker })) item.querySelector(".asked")?.remove();
  }
}

function draw(run) {
  const drawn = series(run, "nats");
  const main = drawn.find((line) => line.name === "gpt") ?? drawn.find((line) => line.name !== "train");
  if (shown.loss) {
    shown.loss.hidden = !main?.points.length;
    if (main?.points.length) {
      const first = main.points[0][1];
      const best = run.state === "finished" && main.points.find((point) => point[0] === run.best?.step);
      const now = (best || main.points[main.points.length - 1])[1];
      shown.loss.querySelector(".value").textContent = now.toFixed(2);
      shown.loss.querySelector(".fall").textContent = main.points.length > 1 ? `from ${first.toFixed(2)}` : "untrained";
      chart ??= new Chart(shown.loss.querySelector(".chart"), () => {});
      chart.draw(drawn, run.planned_steps, run.best?.step);
    }
  }
  if (shown.samples) {
    shown.samples.hidden = !run.first;
    for (const name of ["first", "newest"]) shown.samples.querySelector(`.${name} p`).textContent = (run[name]?.lines ?? []).slice(0, 2).join(" / ");
  }
  if (shown.status) {
    shown.status.hidden = !run.planned_steps;
    const share = run.planned_steps ? Math.min(1, run.step / run.planned_steps) : 0;
    const training = run.state === "training";
    shown.status.querySelector(".text").textContent = training
      ? `learning: step ${number.format(run.step)} of ${number.format(run.planned_steps)}`
      : `learned from ${number.format(run.train_messages ?? 0)} messages`;
    shown.status.querySelector("i").style.width = `${Math.round((training ? share : 1) * 100)}%`;
  }
}

if (panels.length) {
  follow({
    everything(body) {
      drop(() => true);
      for (const line of body.lines) say(line);
      draw(body.training ?? {});
    },
    line: (body) => say(body.line),
    // A removed line goes at once, without an animation.
    removed: (body) => drop((data) => (body.id !== undefined ? data.id === body.id : data.login === body.login)),
    cleared: () => drop(() => true),
    training: (body) => draw(body.training ?? {}),
  });
}
