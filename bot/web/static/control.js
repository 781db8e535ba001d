// The control page: mute, the shadow queue, what the gate refused, the overlay's address.

import { element } from "./lines.js";
import { act, follow } from "./live.js";

const find = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const state = { control: null, programs: {}, connection: null, speaking: null };

async function control(body) {
  const sentence = await act("control", body);
  find("refusal").textContent = sentence;
  find("refusal").hidden = !sentence;
}
for (const button of document.querySelectorAll("[data-mute]")) {
  button.addEventListener("click", () => control({ action: "mute", seconds: button.dataset.mute ? Number(button.dataset.mute) : null }));
}
find("unmute").addEventListener("click", () => control({ action: "unmute" }));
find("go-live").addEventListener("click", () => control({ action: "go-live" }));

function drawMute() {
  const known = state.control;
  const muted = Boolean(known?.muted);
  const left = known?.muted_until_ms ? Math.max(0, Math.ceil((known.muted_until_ms - Date.now()) / 60000)) : null;
  find("mute-state").textContent = !known
    ? "Mute from here is not available in this run."
    : muted
      ? left === null
        ? "Muted until you let it speak."
        : `Muted for ${left} more ${left === 1 ? "minute" : "minutes"}.`
      : known.speak === "shadow"
        ? "Shadow mode: it says nothing that you have not approved."
        : "It speaks when spoken to.";
  find("mute-card").classList.toggle("muted", muted);
  find("mute-row").hidden = !known;
  find("unmute").hidden = !muted;
  for (const button of document.querySelectorAll("[data-mute]")) button.hidden = muted;
}
setInterval(drawMute, 5000);

function entry(text, code, ...buttons) {
  const item = element("li");
  if (code) item.append(element("span", "code", code));
  item.append(element("span", "text", text), ...buttons);
  return item;
}

function none(text) {
  const item = element("li");
  item.append(element("span", "none", text));
  return item;
}

function drawLists() {
  const { queue = [], refusals = [], refused = {}, speak = "" } = state.control ?? {};
  find("queue-card").hidden = speak !== "shadow" && !queue.length;
  find("queue").replaceChildren(
    ...queue.map((line) => {
      const buttons = [["Say it", "approve", "go"], ["Drop", "reject", ""]].map(([label, action, classes]) => {
        const button = element("button", classes, label);
        button.type = "button";
        button.addEventListener("click", () => control({ action, number: line.number }));
        return button;
      });
      return entry(line.text, `#${line.number}`, ...buttons);
    }),
  );
  if (!queue.length) find("queue").append(none("Nothing is waiting."));
  find("tally").replaceChildren(...Object.entries(refused).map(([reason, count]) => element("li", "", `${reason} ${number.format(count)}`)));
  find("refusals").replaceChildren(...refusals.slice(-50).reverse().map((line) => entry(line.text, line.reason)));
  if (!refusals.length) find("refusals").append(none("Nothing has been refused."));
}

function drawPrograms() {
  const { corpus = {}, trainer = {} } = state.programs;
  const rows = [
    ["Chat", state.connection ? `${state.connection.connected ? "connected" : "not connected"} ${state.connection.detail ?? ""}` : "not heard from"],
    ["Collector", corpus.messages_stored === undefined ? "not heard from" : `${corpus.connected ? "connected" : "not connected"}, ${number.format(corpus.messages_stored)} messages stored`],
    ["Trainer", trainer.detail || trainer.state || "not heard from"],
    ["Voice", state.speaking ? `${state.speaking.kind}${state.speaking.checkpoint ? `, ${state.speaking.checkpoint}` : ""}` : "none yet"],
  ];
  find("programs").replaceChildren(...rows.flatMap(([term, value]) => [element("dt", "", term), element("dd", "", value)]));
}

// The overlay's address

const PANELS = { say: true, loss: true, samples: false, status: false };
const chosen = { theme: "dark", scale: "1", side: "left" };
const CHOICES = { theme: ["dark", "light", "clear"], scale: ["0.75", "1", "1.25", "1.5", "2"], side: ["left", "right"] };

function drawAddress() {
  const query = [`panels=${Object.keys(PANELS).filter((name) => PANELS[name]).join(",")}`];
  for (const [key, value] of Object.entries(chosen)) if (value !== CHOICES[key][key === "scale" ? 1 : 0]) query.push(`${key}=${value}`);
  find("address").value = `${location.origin}/overlay?${query.join("&")}`;
}
for (const name of Object.keys(PANELS)) {
  const label = element("label");
  const box = element("input");
  box.type = "checkbox";
  box.checked = PANELS[name];
  box.addEventListener("change", () => {
    PANELS[name] = box.checked;
    drawAddress();
  });
  label.append(box, name);
  find("options").append(label);
}
for (const [key, values] of Object.entries(CHOICES)) {
  const label = element("label", "", `${key} `);
  const select = element("select");
  for (const value of values) select.append(new Option(value, value));
  select.value = chosen[key];
  select.addEventListener("change", () => {
    chosen[key] = select.value;
    drawAddress();
  });
  label.append(select);
  find("options").append(label);
}
find("copy").addEventListener("click", async () => {
  find("address").select();
  await navigator.clipboard?.writeText(find("address").value);
  find("copy").textContent = "Copied";
  setTimeout(() => (find("copy").textContent = "Copy"), 1500);
});
drawAddress();

function said(line) {
  if (!line.own) return;
  const item = entry(line.text);
  item.dataset.id = line.id;
  item.dataset.login = line.login;
  find("said").prepend(item);
  while (find("said").children.length > 20) find("said").lastChild.remove();
}

const on = {
  connection(open) {
    find("connection").textContent = open ? "live" : "connection lost, trying again";
    find("connection").className = `pill ${open ? "live" : "lost"}`;
  },
  everything(body) {
    state.control = body.control ?? null;
    state.programs = body.programs ?? {};
    state.speaking = body.voice?.speaking ?? null;
    state.connection = body.chat ?? null;
    find("said").replaceChildren();
    for (const line of body.lines) said(line);
    drawMute();
    drawLists();
    drawPrograms();
  },
  control(body) {
    state.control = body.control;
    drawMute();
    drawLists();
  },
  programs(body) {
    state.programs = body.programs;
    drawPrograms();
  },
  voice(body) {
    state.speaking = body.voice.speaking;
    drawPrograms();
  },
  chat(body) {
    state.connection = body.chat;
    drawPrograms();
  },
  line: (body) => said(body.line),
  removed(body) {
    for (const item of [...find("said").children]) {
      if (body.id !== undefined ? item.dataset.id === body.id : item.dataset.login === body.login) item.remove();
    }
  },
  cleared: () => find("said").replaceChildren(),
};
follow(on);
