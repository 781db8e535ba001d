"""One JSON object a line: `{"ts","channel","user","text"}`, what `backchat export` writes and most scripts can make."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json

from corpus.importers.made import IdMaker
from corpus.importers.source import Options, Record, Skipped, Source, sound, time_ms
from corpus.message import ChatMessage, Emote

_TEXT = ("text", "message", "body")
_LOGIN = ("user", "login", "username", "name")
_TIME = ("ts", "timestamp", "time", "sent_ms", "created_at")


class JsonLines:
    name = "JSONL"
    looks = '{"ts": "2024-01-01T00:00:12Z", "channel": "bob", "user": "ann", "text": "hi"}'

    def recognises(self, source: Source) -> bool:
        for line in source.head.split("\n")[:20]:
            row = _object(line.encode("utf-8", "replace"))
            if row is not None and _first(row, _TEXT) is not None and _first(row, _LOGIN) is not None:
                return True
        return False

    def read(self, source: Source, options: Options) -> Iterator[Record]:
        ids = IdMaker()
        for number, line in enumerate(source.byte_lines(), 1):
            row = _object(line)
            if row is not None:
                yield _record(row, number, options, ids)
            elif not line.isspace():
                yield Skipped(number, "not a JSON object")


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        row = from_json(line, cache_strings="keys")
    except ValueError:
        try:  # what the strict reader refuses and others write: half a surrogate pair, bytes that are no UTF-8
            row = json.loads(line.decode("utf-8", "replace"), object_hook=_sound_object)
        except (ValueError, RecursionError):
            return None
    return row if isinstance(row, dict) else None


def _sound_object(row: dict[str, Any]) -> dict[str, Any]:
    return {sound(key): sound(value) if isinstance(value, str) else value for key, value in row.items()}


def _record(row: dict[str, Any], number: int, options: Options, ids: IdMaker) -> Record:
    text = row.get("text") or _first(row, _TEXT)
    login = row.get("user") or _first(row, _LOGIN)
    channel = options.channel or row.get("channel")
    stamp = row.get("ts")
    if stamp is None:
        stamp = _first(row, _TIME)
    if not isinstance(text, str) or not text:
        return Skipped(number, "no text")
    if not isinstance(login, str) or not (login := login.strip().lstrip("@").lower()):
        return Skipped(number, "no user")
    if not isinstance(channel, str) or not (channel := channel.strip().lstrip("#").lower()):
        return Skipped(number, "no channel; name one with --channel")
    sent_ms = None if stamp is None else time_ms(stamp, options.timezone)
    if sent_ms is None and stamp is not None:
        return Skipped(number, "unreadable time")
    message_id = row.get("id")
    if not isinstance(message_id, str) or not message_id:
        message_id = ids.made(channel, login, text, sent_ms)
    if len(row) <= 4:
        return ChatMessage(message_id, channel, login, text, sent_ms)
    return ChatMessage(
        message_id,
        channel,
        login,
        text,
        sent_ms,
        _text_or_none(row.get("user_id")),
        _text_or_none(row.get("display_name")) or "",
        tuple(badge for badge in _list(row.get("badges")) if isinstance(badge, str) and badge and "," not in badge),
        tuple(_emotes(row.get("emotes"), len(text))),
        _text_or_none(row.get("reply_to")),
    )


def _emotes(emotes: Any, length: int) -> Iterator[Emote]:
    for emote in _list(emotes):
        match emote:
            case [str(name), int(start), int(end)] if 0 <= start < end <= length and name:
                yield Emote(name, start, end)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _first(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)
