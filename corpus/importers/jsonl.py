"""One JSON object a line: `{"ts","channel","user","text"}`, what `backchat export` writes and most scripts can make."""

import json
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any

from corpus.importers.made import IdMaker
from corpus.importers.source import Options, Record, Skipped, Source
from corpus.message import ChatMessage

_TEXT = ("text", "message", "body")
_LOGIN = ("user", "login", "username", "name")
_TIME = ("ts", "timestamp", "time", "sent_ms", "created_at")


class JsonLines:
    name = "JSONL"
    looks = '{"ts": "2024-01-01T00:00:12Z", "channel": "bob", "user": "ann", "text": "hi"}'

    def recognises(self, source: Source) -> bool:
        for line in source.head.split("\n")[:20]:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and _first(row, _TEXT) is not None and _first(row, _LOGIN) is not None:
                return True
        return False

    def read(self, source: Source, options: Options) -> Iterator[Record]:
        ids = IdMaker()
        for number, line in enumerate(source.lines(), 1):
            if not line or line.isspace():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                yield Skipped(number, "not JSON")
                continue
            if not isinstance(row, dict):
                yield Skipped(number, "not an object")
                continue
            yield _record(row, number, options, ids, escaped="\\u" in line)


def _record(row: dict[str, Any], number: int, options: Options, ids: IdMaker, *, escaped: bool) -> Record:
    text = row.get("text")
    login = row.get("user")
    if text is None:
        text = _first(row, _TEXT)
    if login is None:
        login = _first(row, _LOGIN)
    if not isinstance(text, str) or not text:
        return Skipped(number, "no text")
    if not isinstance(login, str) or not login:
        return Skipped(number, "no user")
    channel = options.channel or row.get("channel")
    if not isinstance(channel, str) or not channel:
        return Skipped(number, "no channel; name one with --channel")
    stamp = row.get("ts")
    if stamp is None:
        stamp = _first(row, _TIME)
    sent_ms: int | None = None
    if stamp is not None:
        sent_ms = time_ms(stamp, options.timezone)
        if sent_ms is None:
            return Skipped(number, "unreadable time")
    if escaped:  # "\ud83d" alone is valid JSON and no character
        text, login, channel = (_sound(part) for part in (text, login, channel))
    login, channel = login.strip().lstrip("@").lower(), channel.strip().lstrip("#").lower()
    display_name = row.get("display_name")
    user_id = row.get("user_id")
    reply_to = row.get("reply_to")
    message_id = row.get("id")
    return ChatMessage(
        message_id if isinstance(message_id, str) and message_id else ids.made(channel, login, text, sent_ms),
        channel,
        login,
        text,
        sent_ms,
        user_id if isinstance(user_id, str) else None,
        display_name if isinstance(display_name, str) else "",
        reply_to=reply_to if isinstance(reply_to, str) else None,
    )


def time_ms(stamp: object, zone: tzinfo) -> int | None:
    """UTC milliseconds of an ISO time or of a number of seconds or milliseconds; None for what is neither.

    Times without a zone are in `zone`.
    """
    try:
        if isinstance(stamp, str):
            if stamp.isascii() and stamp.isdecimal():
                return time_ms(int(stamp), zone)
            moment = datetime.fromisoformat(stamp)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=zone)
            return round(moment.timestamp() * 1000)
        if isinstance(stamp, int | float) and not isinstance(stamp, bool) and 0 <= stamp < 1 << 46:
            return int(stamp if stamp >= 1 << 36 else stamp * 1000)  # 2^36 s is the year 4147; 2^36 ms is 1972
    except (ValueError, OverflowError):
        return None
    return None


def _first(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _sound(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
