"""TwitchDownloader's JSON: a VOD's chat with the service's own ids. Also older exports, a bare list of comments."""

import re
from collections.abc import Iterator
from typing import Any

from corpus.importers.json_items import json_items
from corpus.importers.made import IdMaker
from corpus.importers.source import Options, Record, Skipped, Source, sound, time_ms
from corpus.message import ChatMessage, Emote

_COMMENTS = re.compile(r'"comments"\s*:\s*\[')
_BARE = re.compile(r"^\s*\[")
_COMMENT = re.compile(r'"(?:content_offset_seconds|commenter)"\s*:')
_STREAMER = re.compile(r'"streamer"\s*:\s*\{[^{}]*?"(?:login|name)"\s*:\s*"([^"\\]+)"')


class TwitchDownloaderJson:
    name = "TwitchDownloader JSON"
    looks = '{"streamer": {…}, "video": {…}, "comments": [{"_id": …, "commenter": …, "message": …}]}'

    def recognises(self, source: Source) -> bool:
        head = source.head
        opens = bool(_BARE.match(head)) or (head.lstrip().startswith("{") and '"comments"' in head)
        return opens and (_COMMENT.search(head) is not None or _COMMENTS.search(head) is not None)

    def read(self, source: Source, options: Options) -> Iterator[Record]:
        bare = _BARE.match(source.head) is not None
        streamer = _STREAMER.search(source.head)
        channel = options.channel or (streamer.group(1).lower() if streamer else None)
        ids = IdMaker()
        number = 0
        with source.text() as text:
            try:
                for number, comment in enumerate(json_items(text, _BARE if bare else _COMMENTS), 1):
                    yield _record(comment, number, channel, options, ids)
            except (ValueError, OSError, EOFError, RecursionError) as error:
                yield Skipped(number + 1, f"the rest cannot be read: {error}")


def _record(comment: Any, number: int, channel: str | None, options: Options, ids: IdMaker) -> Record:
    if not isinstance(comment, dict):
        return Skipped(number, "not a comment")
    message = _object(comment.get("message"))
    commenter = _object(comment.get("commenter"))
    text = _text(message)
    login = commenter.get("name") or commenter.get("display_name")
    if not isinstance(login, str) or not login.strip():
        return Skipped(number, "no commenter")
    if not text:
        return Skipped(number, "no text")
    channel = channel or _channel_id(comment)
    if not channel:
        return Skipped(number, "no channel; name one with --channel")
    login = sound(login).strip().lower()
    sent_ms = time_ms(comment.get("created_at"), options.timezone)
    if message.get("is_action") is True:
        text = f"\x01ACTION {text}\x01"
    display_name = commenter.get("display_name")
    user_id = commenter.get("_id")
    message_id = comment.get("_id")
    badges = message.get("user_badges")
    return ChatMessage(
        sound(message_id) if isinstance(message_id, str) and message_id else ids.made(channel, login, text, sent_ms),
        channel,
        login,
        text,
        sent_ms,
        str(user_id) if isinstance(user_id, str | int) and user_id else None,
        sound(display_name) if isinstance(display_name, str) else "",
        tuple(
            badge["_id"]
            for badge in (badges if isinstance(badges, list) else ())
            if isinstance(badge, dict) and isinstance(badge.get("_id"), str) and badge["_id"].isascii()
        ),
        _emotes(message) if message.get("is_action") is not True else (),
    )


def _text(message: dict[str, Any]) -> str:
    body = message.get("body")
    if isinstance(body, str) and body:
        return sound(body)
    return sound("".join(text for text, _ in _fragments(message)))


def _fragments(message: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    fragments = message.get("fragments")
    for fragment in fragments if isinstance(fragments, list) else ():
        text = _object(fragment).get("text")
        if isinstance(text, str):
            emote = _object(_object(fragment).get("emoticon")).get("emoticon_id")
            yield text, str(emote) if isinstance(emote, str | int) and emote else None


def _emotes(message: dict[str, Any]) -> tuple[Emote, ...]:
    found, start = [], 0
    for text, emote in _fragments(message):
        if emote and emote.isprintable():
            found.append(Emote(sound(emote), start, start + len(text)))
        start += len(text)
    return tuple(found)


def _channel_id(comment: dict[str, Any]) -> str:
    number = comment.get("channel_id")
    return f"channel-{number}" if isinstance(number, str | int) and number else ""


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
