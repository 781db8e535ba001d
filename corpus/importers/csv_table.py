"""CSV with a header that names a column of users and one of texts; times and channels where it has them."""

import csv
from collections.abc import Iterator, Sequence

from corpus.importers.made import IdMaker
from corpus.importers.source import Options, Record, Skipped, Source, time_ms
from corpus.message import ChatMessage

_USER = ("user", "login", "username", "user_name", "name", "author", "nick", "chatter", "sender")
_TEXT = ("text", "message", "body", "content", "msg", "chat", "comment")
_TIME = ("ts", "timestamp", "time", "date", "datetime", "created_at", "sent_ms", "sent_at")
_CHANNEL = ("channel", "room", "streamer", "channel_name")
_ID = ("id", "message_id", "msg_id")


class CsvTable:
    name = "CSV"
    looks = "time,channel,user,text   as its first line"

    def recognises(self, source: Source) -> bool:
        first = source.head.partition("\n")[0].rstrip("\r")
        header = _header(first, _delimiter(first))
        return _place(header, _USER) is not None and _place(header, _TEXT) is not None

    def read(self, source: Source, options: Options) -> Iterator[Record]:
        first = source.head.partition("\n")[0]
        rows = csv.reader((f"{line}\n" for line in source.lines()), delimiter=_delimiter(first))
        ids = IdMaker()
        header: list[str] = []
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield Skipped(rows.line_num, f"not CSV: {error}")
                continue
            if not row:
                continue
            if not header:
                header = [name.strip().lower() for name in row]
            else:
                yield _record(header, row, rows.line_num, options, ids)


def _record(header: Sequence[str], row: list[str], number: int, options: Options, ids: IdMaker) -> Record:
    def column(names: tuple[str, ...]) -> str:
        place = _place(header, names)
        return row[place].strip() if place is not None and place < len(row) else ""

    text, login = column(_TEXT), column(_USER).lstrip("@").lower()
    channel = options.channel or column(_CHANNEL).lstrip("#").lower()
    stamp = column(_TIME)
    if not text or not login:
        return Skipped(number, "no text" if login else "no user")
    if not channel:
        return Skipped(number, "no channel; name one with --channel")
    sent_ms = time_ms(stamp, options.timezone) if stamp else None
    if stamp and sent_ms is None:
        return Skipped(number, "unreadable time")
    return ChatMessage(column(_ID) or ids.made(channel, login, text, sent_ms), channel, login, text, sent_ms)


def _header(line: str, delimiter: str) -> list[str]:
    try:
        return [name.strip().lower() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def _place(header: Sequence[str], names: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)
