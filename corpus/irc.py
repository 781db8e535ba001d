"""Twitch's IRC dialect, reading only: bytes to lines, lines to messages and moderation. Pure; opens no socket."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from corpus.message import ChatMessage, ClearedChatter, ClearedRoom, DeletedMessage, Emote, Moderation

ANONYMOUS = "justinfan"
CAPABILITIES = "CAP REQ :twitch.tv/tags twitch.tv/commands"

LATEST_MS = 1 << 46  # the year 4199: no clock is so wrong that a later time means anything
_UNESCAPED = {":": ";", "s": " ", "\\": "\\", "r": "\r", "n": "\n"}
_ESCAPED = {";": "\\:", " ": "\\s", "\\": "\\\\", "\r": "\\r", "\n": "\\n"}


@dataclass(frozen=True, slots=True)
class IrcLine:
    """One line of IRC. `trailing` is the last parameter when it was written after a colon, None when there was none."""

    command: str
    parameters: tuple[str, ...] = ()
    trailing: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""

    @property
    def nick(self) -> str:
        return self.prefix.partition("!")[0]

    @property
    def channel(self) -> str:
        return self.parameters[0].lstrip("#").lower() if self.parameters else ""


def parse_line(line: str) -> IrcLine | None:
    """Read one line without its line end. None for what is no IRC: a server's noise must not end a collector."""
    tags: dict[str, str] = {}
    prefix = ""
    if line.startswith("@"):
        raw, _, line = line[1:].partition(" ")
        for tag in raw.split(";"):
            key, _, value = tag.partition("=")
            tags[key] = value
        if "\\" in raw:
            tags = {key: _unescaped(value) for key, value in tags.items()}
        line = line.lstrip(" ")
    if line.startswith(":"):
        prefix, _, line = line[1:].partition(" ")
        line = line.lstrip(" ")
    head, colon, trailing = line.partition(" :")
    command, *parameters = head.split(" ") if head else ("",)
    if not command or command.startswith(":"):
        return None
    return IrcLine(command.upper(), tuple(filter(None, parameters)), trailing if colon else None, tags, prefix)


def render_line(line: IrcLine) -> str:
    """The line as it is sent; `parse_line` gives it back."""
    parts = []
    if line.tags:
        parts.append("@" + ";".join(f"{key}={_escaped(value)}" for key, value in line.tags.items()))
    if line.prefix:
        parts.append(":" + line.prefix)
    parts.append(line.command)
    parts.extend(line.parameters)
    if line.trailing is not None:
        parts.append(":" + line.trailing)
    return " ".join(parts)


def chat_of(line: IrcLine, *, fallback_ms: int | None = None) -> ChatMessage | Moderation | None:
    """What a line means for the corpus: a message, something taken away, or nothing.

    `fallback_ms` dates what carries no time. Messages that shared chat brings from another room give None: they
    belong to that room. So do sub and raid notices with a text of their own: the text is there, but as a notice.
    """
    if line.command == "PRIVMSG":
        return _message(line, fallback_ms)
    if line.command == "CLEARMSG":
        target = line.tags.get("target-msg-id", "")
        return DeletedMessage(line.channel, target, at_ms=_time(line, fallback_ms)) if target else None
    if line.command == "CLEARCHAT":
        at_ms = _time(line, fallback_ms)
        if not line.trailing:
            return ClearedRoom(line.channel, at_ms)
        seconds = line.tags.get("ban-duration", "")
        return ClearedChatter(line.channel, line.trailing.strip().lower(), at_ms, _number(seconds))
    return None


def _message(line: IrcLine, fallback_ms: int | None) -> ChatMessage | None:
    tags = line.tags
    text = line.trailing
    source = tags.get("source-room-id")
    if text is None or not line.channel or (source and source != tags.get("room-id")):
        return None
    login = line.nick.lower() or tags.get("login", "")
    message_id = tags.get("id", "")
    if not login or not message_id:
        return None
    # Emote positions count from the text inside a /me wrapper.
    shift = len("\x01ACTION ") if text.startswith("\x01ACTION ") else 0
    emotes, badges = tags.get("emotes"), tags.get("badges")
    return ChatMessage(
        message_id,
        line.channel,
        login,
        text,
        _time(line, fallback_ms),
        tags.get("user-id") or None,
        tags.get("display-name", ""),
        _badges(badges) if badges else (),
        _emotes(emotes, len(text), shift) if emotes else (),
        tags.get("reply-parent-msg-id") or None,
    )


def _time(line: IrcLine, fallback_ms: int | None) -> int | None:
    at_ms = _number(line.tags.get("tmi-sent-ts", ""))
    return at_ms if at_ms is not None and at_ms < LATEST_MS else fallback_ms


def _number(digits: str) -> int | None:
    """None for what is no number, or for one so long that it means nothing."""
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 18 else None


@lru_cache(maxsize=1024)
def _badges(tag: str) -> tuple[str, ...]:
    """`moderator/1,subscriber/12` by name. Few combinations make up a whole chat."""
    return tuple(badge.partition("/")[0] for badge in tag.split(","))


def _emotes(tag: str, length: int, shift: int) -> tuple[Emote, ...]:
    """`25:0-4,12-16/1902:6-10`, ends included. What does not fit the text is left out."""
    found = []
    for part in tag.split("/"):
        name, _, ranges = part.partition(":")
        for one in ranges.split(","):
            first, _, last = one.partition("-")
            start, end = _number(first), _number(last)
            if start is not None and end is not None and start <= end and end + shift < length:
                found.append(Emote(name, start + shift, end + 1 + shift))
    return tuple(sorted(found, key=lambda emote: emote.start))


def _unescaped(value: str) -> str:
    if "\\" not in value:
        return value
    out = []
    characters = iter(value)
    for character in characters:
        if character == "\\":
            following = next(characters, "")
            out.append(_UNESCAPED.get(following, following))
        else:
            out.append(character)
    return "".join(out)


def _escaped(value: str) -> str:
    return "".join(_ESCAPED.get(character, character) for character in value)
