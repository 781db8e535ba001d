// The room page: chat, a box to type in, and what the companion is learning.

import { Chart, NAMES, series } from "./chart.js";
import { chatLine, element, withEmotes, words } from "./lines.js";
import { act, follow } from "./live.js";

const MOST_LINES = 250;
const find = (id) => document.getElementById(id);
const state = { companion: "backchat", local: true, training: {}, programs: {}, speaking: null, audience: {}, unit: "nats", replyTo: null, emotes: {} };
const sent = { lines: [], at: 0 };
const number = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

// Chat

const log = find("log");
const scroller = find("scroller");
let atEnd = true;

scroller.addEventListener("scroll", () => {
  atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
  if (atEnd) find("newer").hidden = true;
});
find("newer").addEventListener("click", () => toEnd());
new ResizeObserver(() => atEnd && toEnd()).observe(scroller);

function toEnd() {
  scroller.scrollTop = scroller.scrollHeight;
  find("newer").hidden = true;
  atEnd = true;
}

function add(line) {
  const item = chatLine(line, { names: [line.own ? "" : state.companion, find("name").value].filter(Boolean), companion: state.companion });
  if (line.notice === undefined) item.tabIndex = -1;
  if (state.local && line.notice === undefined) item.append(tools(line));
  log.append(item);
  while (log.children.length > MOST_LINES) log.firstChild.remove();
}

function tools(line) {
  const made = element("span", "tools");
  const reply = element("button", "", "Reply");
  reply.addEventListener("click", () => replyTo(line));
  const remove = element("button", "", "Delete");
  remove.addEventListener("click", () => perform("moderate", { action: "delete", id: line.id }));
  made.append(reply, remove);
  if (!line.own) {
    const silence = element("button", "", "Time out");
    silence.title = "Ten minutes of silence; everything they wrote is removed and unlearned";
    silence.addEventListener("click", () => perform("moderate", { action: "timeout", login: line.login, seconds: 600 }));
    made.append(silence);
  }
  for (const button of made.children) {
    button.type = "button";
    button.tabIndex = -1;
    button.dataset.key = button.textContent[0].toLowerCase();
    button.setAttribute("aria-keyshortcuts", button.dataset.key);
  }
  return made;
}

function shown(line) {
  add(line);
  if (atEnd) toEnd();
  else find("newer").hidden = false;
}

// With the keyboard: arrows walk the lines, and r, d, t do what the buttons of a line do.
scroller.addEventListener("keydown", (event) => {
  const lines = [...log.querySelectorAll(".line:not(.notice)")];
  const at = lines.indexOf(document.activeElement.closest(".line"));
  if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    const to = at < 0 ? lines.length - 1 : at + (event.key === "ArrowUp" ? -1 : 1);
    lines[to]?.focus();
    event.preventDefault();
  } else if (at >= 0 && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const button = [...lines[at].querySelectorAll(".tools button")].find((one) => one.dataset.key === event.key);
    if (!button) return;
    event.preventDefault();
    event.stopPropagation();
    (lines[at - 1] ?? scroller).focus();
    button.click();
  }
});

function drop(matches) {
  for (const item of [...log.children]) {
    if (matches(item.dataset)) item.remove();
    else if (matches({ id: item.dataset.askedId, login: item.dataset.asker })) item.querySelector(".parent")?.remove();
  }
}

// Typing

function complain(sentence) {
  const refusal = find("refusal");
  refusal.textContent = sentence;
  refusal.hidden = !sentence;
}

async function perform(name, body) {
  complain(await act(name, body));
}

function replyTo(line) {
  state.replyTo = line?.id ?? null;
  find("replying").hidden = !line;
  if (line) find("replying").firstElementChild.textContent = `Replying to ${line.name}: ${line.text}`;
  if (line) find("text").focus();
}
find("replying").querySelector("button").addEventListener("click", () => replyTo(null));

const nameBox = find("name");
try {
  nameBox.value = localStorage.getItem("backchat-name") ?? "Streamer";
} catch {
  nameBox.value = "Streamer";
}
nameBox.addEventListener("change", () => {
  try {
    localStorage.setItem("backchat-name", nameBox.value);
  } catch {
    // A browser that keeps nothing asks for the name again next time.
  }
});

find("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const box = find("text");
  const text = box.value.trim();
  if (!text) return;
  const refusal = await act("say", { name: nameBox.value.trim(), text, reply_to: state.replyTo });
  complain(refusal);
  if (refusal) return;
  sent.lines.push(text);
  sent.at = sent.lines.length;
  box.value = "";
  replyTo(null);
  toEnd();
});

find("text").addEventListener("keydown", (event) => {
  if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    const to = sent.at + (event.key === "ArrowUp" ? -1 : 1);
    if (to < 0 || to > sent.lines.length) return;
    sent.at = to;
    event.target.value = sent.lines[to] ?? "";
    event.preventDefault();
  } else if (event.key === "Escape") {
    replyTo(null);
    complain("");
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !["INPUT", "SELECT"].includes(document.activeElement?.tagName)) {
    event.preventDefault();
    find("text").focus();
  }
  if (event.key === "Escape") showEmotes(false);
});

function insert(word) {
  const box = find("text");
  box.value = `${box.value}${box.value && !box.value.endsWith(" ") ? " " : ""}${word} `;
  box.focus();
}

function showEmotes(open) {
  find("emotes").hidden = !open;
  find("emotes-button").setAttribute("aria-expanded", String(open));
}
function drawEmotes() {
  const buttons = Object.entries(state.emotes).map(([name, id]) => {
    const button = element("button");
    button.type = "button";
    button.title = name;
    const picture = element("img");
    picture.src = `/static/emotes/${id}.svg`;
    picture.alt = name;
    button.append(picture);
    button.addEventListener("click", () => insert(name));
    return button;
  });
  find("emotes").replaceChildren(...buttons);
}
find("emotes-button").addEventListener("click", () => showEmotes(find("emotes").hidden));
document.addEventListener("click", (event) => {
  if (!event.target.closest(".field")) showEmotes(false);
});

// The pretend stream and its audience

find("pause").addEventListener("click", () => perform("audience", { paused: !state.audience.paused }));

function drawAudience() {
  const { present, paused } = state.audience;
  const button = find("pause");
  button.hidden = !present;
  button.setAttribute("aria-pressed", String(Boolean(paused)));
  button.textContent = paused ? "Resume audience" : "Pause audience";
  if (!state.local) find("simulated").textContent = `live from #${state.channel}`;
  else if (!present) find("simulated").textContent = "your own chat room on this machine";
  else if (paused) find("simulated").textContent = "viewers, quiet for now";
  else find("simulated").textContent = "viewers and stream, made up so that there is something to learn from";
  find("chip").hidden = !(state.local && present);
}

// The brain

const chart = new Chart(find("chart"), drawLegend);

function lossUnit() {
  return state.unit === "nats" ? "nats a token" : "bits a character";
}

function drawTraining() {
  const run = state.training;
  const drawn = series(run, state.unit);
  find("empty").hidden = drawn.length > 0;
  chart.draw(drawn, run.planned_steps, run.best?.step);
  drawLegend(null);
  const main = drawn.find((line) => line.name === "gpt") ?? drawn.find((line) => line.name !== "train");
  find("loss-unit").textContent = lossUnit();
  if (main?.points.length) {
    const first = main.points[0][1];
    const best = run.state === "finished" && main.points.find((point) => point[0] === run.best?.step);
    const now = (best || main.points[main.points.length - 1])[1];
    find("loss").textContent = now.toFixed(2);
    find("fall").textContent = main.points.length > 1 ? `${best ? "kept; " : ""}from ${first.toFixed(2)}, ${now <= first ? "down" : "up"} ${Math.abs(first - now).toFixed(2)}` : "untrained";
    find("loss-words").textContent = `Validation loss ${now.toFixed(2)} ${lossUnit()} at step ${run.step}`;
  } else {
    find("loss").textContent = "–";
    find("fall").textContent = "";
  }
  drawSample("first", run.first, "not trained yet");
  drawSample("newest", run.newest, "the first words are on their way");
}

function drawSample(id, sample, otherwise) {
  const box = find(id);
  const lines = sample?.lines?.length ? sample.lines : [sample ? "(nothing)" : otherwise];
  box.replaceChildren(
    ...lines.map((line) => {
      const made = element("p");
      made.append(words(withEmotes(line, state.emotes)));
      return made;
    }),
  );
  find(`${id}-step`).textContent = sample ? `step ${number.format(sample.step)}` : "";
}

function drawLegend(at) {
  const drawn = series(state.training, state.unit);
  const items = drawn.map(({ name, points }) => {
    const value = at ? at.values.find(([other]) => other === name)?.[1] : points[points.length - 1]?.[1];
    const item = element("li", name);
    item.append(element("i"), `${NAMES[name] ?? name} `, element("b", "", value === undefined ? "" : value.toFixed(2)));
    return item;
  });
  if (at) items.push(element("li", "", `at step ${number.format(at.step)}`));
  find("legend").replaceChildren(...items.reverse());
}

for (const button of document.querySelectorAll(".switch button")) {
  button.addEventListener("click", () => {
    state.unit = button.dataset.unit;
    for (const other of document.querySelectorAll(".switch button")) other.setAttribute("aria-pressed", String(other === button));
    drawTraining();
  });
}

const ago = (time_ms) => {
  const seconds = Math.max(0, Math.round((Date.now() - time_ms) / 1000));
  return seconds < 90 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
};

function drawStage() {
  const run = state.training;
  const { corpus = {}, trainer = {} } = state.programs;
  const stored = corpus.messages_stored ?? 0;
  const training = run.state === "training" && trainer.state !== "waiting";
  let now = stored ? `${number.format(stored)} messages heard` : "Listening to chat";
  let detail = trainer.detail ?? "";
  let share = null;
  if (training) {
    share = run.planned_steps ? Math.min(1, run.step / run.planned_steps) : 0;
    now = `Training: step ${number.format(run.step)} of ${number.format(run.planned_steps)}`;
    const seconds = (Date.now() - run.started_ms) / 1000;
    const left = share > 0.02 ? Math.round((seconds / share) * (1 - share)) : null;
    const parts = [`${number.format(run.train_messages)} messages to learn from`];
    if (run.tokens_per_second) parts.push(`${short.format(run.tokens_per_second)} tokens/s`);
    if (left !== null) parts.push(`about ${left < 90 ? `${left} s` : `${Math.round(left / 60)} min`} left`);
    detail = parts.join(", ");
  } else if (run.promoted) {
    now = run.promoted.promoted ? `Promoted ${ago(run.promoted.time_ms)}: this is who speaks now` : "Not promoted: the older voice stays";
    const heard = stored ? [`${number.format(stored)} messages heard`] : [];
    detail = [...heard, ...(trainer.detail ? [trainer.detail] : [])].join("; ");
    share = 1;
  }
  find("now").textContent = now;
  find("detail").textContent = detail;
  find("bar").firstElementChild.style.width = `${Math.round((share ?? 0) * 100)}%`;
  find("bar").setAttribute("aria-valuenow", Math.round((share ?? 0) * 100));
  const speaks = Boolean(state.speaking?.checkpoint);
  const stages = find("steps").children;
  const current = training ? 1 : run.promoted || speaks ? 2 : 0;
  [...stages].forEach((item, at) => {
    item.className = at === current ? "current" : at < current || (at === 2 && speaks) ? "done" : "";
  });
}
setInterval(drawStage, 1000);

function drawFacts() {
  const speaking = state.speaking;
  const run = state.training;
  const kinds = { gpt: "GPT", ngram: "n-gram", mixture: "GPT and n-gram" };
  const rows = [["Voice", speaking ? (kinds[speaking.kind] ?? speaking.kind) : "listening"]];
  const parameters = speaking?.parameters || run.parameters;
  if (parameters) rows.push(["Parameters", number.format(parameters)]);
  const vocabulary = speaking?.vocab_size || run.vocab_size;
  if (vocabulary) rows.push(["Vocabulary", `${number.format(vocabulary)} ${speaking?.tokenizer || ""} tokens`]);
  if (speaking?.trained_messages) rows.push(["Learned from", `${number.format(speaking.trained_messages)} messages`]);
  if (run.device) rows.push(["Trains on", run.device]);
  if (speaking) rows.push(["Checkpoint", speaking.checkpoint ? `step ${number.format(speaking.step)}` : "none yet"]);
  find("facts").replaceChildren(
    ...rows.map(([term, value]) => {
      const pair = element("div");
      pair.append(element("dt", "", term), element("dd", "", value));
      return pair;
    }),
  );
  find("facts").title = speaking?.checkpoint ?? "";
}

function drawCommands() {
  const wanted = ["!say the soup", "!loss", "!model", "!help", `@${state.companion} hi`];
  const items = wanted.map((text) => {
    const item = element("li");
    const button = element("button", "", text);
    button.type = "button";
    button.addEventListener("click", () => {
      document.body.dataset.view = "chat";
      find("text").value = text;
      find("text").focus();
    });
    item.append(button);
    return item;
  });
  find("commands").replaceChildren(...items);
}

for (const button of document.querySelectorAll(".views button")) {
  button.addEventListener("click", () => {
    document.body.dataset.view = button.dataset.to;
    for (const other of document.querySelectorAll(".views button")) other.setAttribute("aria-pressed", String(other === button));
    if (button.dataset.to === "chat") toEnd();
  });
}

// What arrives

const on = {
  connection(open) {
    const pill = find("connection");
    pill.classList.toggle("live", open);
    pill.classList.toggle("lost", !open);
    pill.lastElementChild.textContent = open ? "live" : "connection lost, trying again";
  },
  everything(body) {
    Object.assign(state, { companion: body.companion, local: body.local, channel: body.channel, emotes: body.emotes ?? {} });
    drawEmotes();
    find("say").hidden = find("commands-row").hidden = !body.local;
    log.replaceChildren();
    for (const line of body.lines) add(line);
    toEnd();
    on.training(body);
    for (const kind of ["programs", "voice", "happening", "audience"]) if (body[kind]) on[kind](body);
    drawCommands();
    drawAudience();
    drawStage();
    drawFacts();
  },
  line: (body) => shown(body.line),
  notice: (body) => shown(body.line),
  removed(body) {
    drop((data) => (body.id !== undefined ? data.id === body.id : data.login === body.login));
  },
  cleared: () => drop(() => true),
  training(body) {
    state.training = body.training ?? {};
    drawTraining();
    drawStage();
    drawFacts();
  },
  programs(body) {
    state.programs = body.programs;
    drawStage();
  },
  voice(body) {
    state.speaking = body.voice.speaking;
    drawFacts();
    drawStage();
  },
  happening(body) {
    find("happening").textContent = body.happening.title.replace(/^./, (first) => first.toUpperCase());
  },
  audience(body) {
    state.audience = body.audience;
    drawAudience();
  },
};
follow(on);
