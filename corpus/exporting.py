"""The corpus as JSON lines that `backchat import` reads back. A file is complete or absent."""

import gzip
import json
import os
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from corpus.errors import CorpusError
from corpus.message import ChatMessage


def as_values(message: ChatMessage) -> dict[str, Any]:
    """A message as its line holds it: what there is, under the names that the importer knows."""
    sent_ms = message.sent_ms
    values: dict[str, Any] = {
        "ts": None
        if sent_ms is None
        else datetime.fromtimestamp(sent_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "channel": message.channel,
        "user": message.login,
        "text": message.text,
        "id": message.id,
    }
    if message.user_id:
        values["user_id"] = message.user_id
    if message.display_name:
        values["display_name"] = message.display_name
    if message.badges:
        values["badges"] = message.badges
    if message.emotes:
        values["emotes"] = [[emote.id, emote.start, emote.end] for emote in message.emotes]
    if message.reply_to:
        values["reply_to"] = message.reply_to
    return values


def export_to(file: Path, messages: Iterable[ChatMessage]) -> int:
    """Write messages to a file, packed when its name ends in `.gz`. Returns how many. Raises `CorpusError`."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    written = 0
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(aside.open("wb"))
            stack.callback(aside.unlink, missing_ok=True)  # where it has not taken its place by then
            packed = cast(IO[bytes], gzip.GzipFile("", "wb", 6, raw)) if file.suffix == ".gz" else raw
            for message in messages:
                packed.write(json.dumps(as_values(message), ensure_ascii=False).encode("utf-8", "replace") + b"\n")
                written += 1
            if packed is not raw:
                packed.close()
            raw.flush()
            os.fsync(raw.fileno())
            aside.replace(file)
    except OSError as error:
        raise CorpusError(f"{file}: cannot be written ({error}); name a file in a folder that exists") from error
    return written
