// Chat lines as elements. What people wrote is only ever text: nothing of it is read as HTML.

const BADGES = { broadcaster: "Host", moderator: "Mod", vip: "VIP", subscriber: "Sub" };

export function element(tag, classes = "", text = "") {
  const made = document.createElement(tag);
  if (classes) made.className = classes;
  if (text) made.textContent = text;
  return made;
}

/** A hue that is always the same for the same name. */
export function hueOf(name) {
  let hash = 0;
  for (const char of name.toLowerCase()) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  return (hash % 24) * 15;
}

/** The words of a line: text nodes, pictures for the room's own emotes, mentions of `names` marked. */
export function words(line, names = []) {
  const made = element("span", "words");
  const characters = Array.from(line.text); // emote ranges count characters, not UTF-16 units
  let at = 0;
  for (const [id, start, end] of line.emotes ?? []) {
    if (start < at || end > characters.length || !/^room_[a-z]+$/.test(id)) continue;
    addText(made, characters.slice(at, start).join(""), names);
    const picture = element("img", "emote");
    picture.src = `/static/emotes/${id}.svg`;
    picture.alt = picture.title = characters.slice(start, end).join("");
    made.append(picture);
    at = end;
  }
  addText(made, characters.slice(at).join(""), names);
  return made;
}

/** A text that has no emote ranges, as a line that has them: `emotes` maps the words to look for to their pictures. */
export function withEmotes(text, emotes) {
  const found = [];
  let at = 0;
  for (const part of text.split(/(\s+)/)) {
    const length = Array.from(part).length;
    if (Object.hasOwn(emotes, part)) found.push([emotes[part], at, at + length]);
    at += length;
  }
  return { text, emotes: found };
}

function addText(into, text, names) {
  const lowered = names.map((name) => name.toLowerCase());
  for (const part of text.split(/([@!]?[\p{L}\p{N}_]+)/u)) {
    const bare = part.replace(/^@/, "").toLowerCase();
    if (part && lowered.includes(bare)) into.append(element("span", "mention", part));
    else if (part) into.append(part);
  }
}

/** One line of chat as a list item. `names` are highlighted where they are mentioned. */
export function chatLine(line, { names = [], companion = "" } = {}) {
  if (line.notice !== undefined) {
    const made = element("li", "line notice", line.notice);
    made.dataset.id = line.id;
    return made;
  }
  const made = element("li", "line");
  made.dataset.id = line.id;
  made.dataset.login = line.login;
  if (line.own) made.classList.add("own");
  if (line.action) made.classList.add("action");
  if (line.simulated) made.classList.add("simulated");
  else if (!line.own) made.classList.add("human");
  if (!line.own && companion && line.text.toLowerCase().includes(companion.toLowerCase())) made.classList.add("calls");
  if (line.reply) {
    made.dataset.askedId = line.reply.id ?? "";
    made.dataset.asker = line.reply.login ?? "";
    const parent = element("div", "parent");
    parent.append(element("span", "arrow", "↳"), element("b", "", line.reply.name ?? "someone"), " ");
    parent.append(element("span", "", line.reply.text ?? ""));
    made.append(parent);
  }
  const who = element("span", "who");
  if (line.channel) who.append(element("span", "badge", `#${line.channel}`));
  for (const badge of line.badges ?? []) {
    if (BADGES[badge] && !line.own) who.append(element("span", `badge ${badge}`, BADGES[badge]));
  }
  if (line.own) who.append(element("span", "badge bot", "BOT"));
  const name = element("b", `name hue${hueOf(line.login)}`, line.name);
  if (line.simulated) name.title = "simulated viewer";
  who.append(name);
  made.append(who, " ", words(line, names));
  return made;
}
