"""rustlog's and justlog's web answers: text `[2023-06-16 20:25:17] #chan user: text`, or one JSON object a line."""

import json
import re
from collections.abc import Iterator
from typing import Any

from corpus.importers.lines import clock_of, head_lines, message_of, mostly, seconds_of, utc_ms
from corpus.importers.made import IdMaker
from corpus.importers.raw_irc import irc_record
from corpus.importers.source import Options, Record, Skipped, Source, sound, time_ms
from corpus.message import ChatMessage, ClearedChatter, ClearedRoom

# The day may be written with one digit, as justlog does.
_LINE = re.compile(r"^\[(\d{4})-(\d{1,2})-(\d{1,2}) (\d{1,2}):(\d\d):(\d\d)\] #(\w+) (.*)$", re.DOTALL)
_SAID = re.compile(r"^(\w{1,25}): (.+)$", re.DOTALL)
_CLEARED = re.compile(r"^(\w{1,25}) has been (?:permanently banned|banned|timed out for (.+?))\.?$")
_PRIVMSG = 1


class RustlogText:
    name = "rustlog text"
    looks = "[2023-06-16 20:25:17] #bob ann: hi"

    def recognises(self, source: Source) -> bool:
        return mostly(_LINE, head_lines(source))

    def read(self, source: Source, options: Options) -> Iterator[Record]:
        ids = IdMaker()
        for number, line in enumerate(source.lines(), 1):
            if not line or line.isspace():
                continue
            found = _LINE.match(line)
            if found is None:
                yield Skipped(number, "no stamp and channel")
                continue
            at_ms = utc_ms(int(found[1]), int(found[2]), int(found[3]), clock_of(found, 4), options.timezone)
            channel = options.channel or found[7].lower()
            if at_ms is None:
                yield Skipped(number, "unreadable time")
            elif said := _SAID.match(found[8]):
                yield message_of(ids, channel, said[1], said[2], at_ms)
            else:
                yield _moderation(found[8], channel, at_ms) or Skipped(number, "a notice, no chat", harmless=True)


class RustlogJson:
    name = "rustlog NDJSON"
    looks = '{"text": "hi", "username": "ann", "channel": "bob", "timestamp": …, "raw": …, "type": 1}'

    def recognises(self, source: Source) -> bool:
        first = _object(next(iter(head_lines(source)), ""))
        return (
            first is not None
            and {"text", "channel", "timestamp"} <= set(first)
            and bool({"raw", "displayName", "tags"} & set(first))
        )

    def read(self, source: Source, options: Options) -> Iterator[Record]:
        ids = IdMaker()
        for number, line in enumerate(source.lines(), 1):
            if not line or line.isspace():
                continue
            row = _object(line)
            if row is None:
                yield Skipped(number, "not a JSON object")
            elif isinstance(raw := row.get("raw"), str) and raw:
                yield irc_record(sound(raw), number, options, ids)
            else:
                yield _record(row, number, options, ids)


def _record(row: dict[str, Any], number: int, options: Options, ids: IdMaker) -> Record:
    text, channel = row.get("text"), options.channel or row.get("channel")
    login = row.get("username") or row.get("displayName")
    at_ms = time_ms(row.get("timestamp"), options.timezone)
    if not isinstance(channel, str) or not channel or not isinstance(text, str) or not text:
        return Skipped(number, "no channel or no text")
    if at_ms is None:
        return Skipped(number, "unreadable time")
    channel, text = sound(channel).lstrip("#").lower(), sound(text)
    if row.get("type", _PRIVMSG) != _PRIVMSG:
        return _moderation(text, channel, at_ms) or Skipped(number, "a notice, no chat", harmless=True)
    if not isinstance(login, str) or not login.strip():
        return Skipped(number, "no user")
    login = sound(login).strip().lower()
    given, shown = row.get("id"), row.get("displayName")
    return ChatMessage(
        sound(given) if isinstance(given, str) and given else ids.made(channel, login, text, at_ms),
        channel,
        login,
        text,
        at_ms,
        None,
        sound(shown) if isinstance(shown, str) else "",
    )


def _moderation(text: str, channel: str, at_ms: int) -> ClearedChatter | ClearedRoom | None:
    if found := _CLEARED.match(text):
        return ClearedChatter(
            channel, found[1].lower(), at_ms, seconds_of(found[2].replace(" seconds", "s")) if found[2] else None
        )
    if text.lower().startswith("chat has been cleared"):
        return ClearedRoom(channel, at_ms)
    return None


def _object(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
