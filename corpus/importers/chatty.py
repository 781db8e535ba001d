"""Chatty's logs: `[2017-10-05 23:45:00] <@%JohnDoe> text`, with the bans and deletions that it writes between."""

import re
from collections.abc import Iterator
from datetime import timedelta, timezone, tzinfo

from corpus.importers.lines import (
    DayClock,
    action,
    channel_of,
    clock_of,
    head_lines,
    message_of,
    mostly,
    seconds_of,
    utc_ms,
)
from corpus.importers.made import IdMaker
from corpus.importers.source import Options, Record, Skipped, Source
from corpus.message import ClearedChatter, ClearedRoom, DeletedMessage

_HEADER = re.compile(r"^# Log started: (\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?: ([+-])(\d\d):?(\d\d))?")
_FILE = re.compile(r"#(\w+)")
_STAMPED = re.compile(
    r"^\[(?:(\d{4})-(\d\d)-(\d\d) )?(\d\d):(\d\d):(\d\d)(?: ?([+-])(\d\d):?(\d\d))?\] (.*)$", re.DOTALL
)
_SAID = re.compile(r"^<[~&@!%$+^]*([^\s<>]{1,50})>(\*)? (.+)$", re.DOTALL)
_ROW = re.compile(r"^\[[\d :+-]+\] <[~&@!%$+^]*[^\s<>]+>\*? ")
_BAN = re.compile(r"^BAN: (\S+)(?: \((\w+)\))?")
_DELETED = re.compile(r"^DELETED: (\S+) \((.*)\)$", re.DOTALL)
_CLEARED = re.compile(r"^(?:CLEARCHAT|CLEAR\b|Chat was cleared)", re.IGNORECASE)


class Chatty:
    name = "Chatty"
    looks = "# Log started: 2017-10-05 23:40:00 +0200   then   [2017-10-05 23:45:00] <@%Ann> hi"

    def recognises(self, source: Source) -> bool:
        lines = head_lines(source)
        return any(_HEADER.match(line) for line in lines) or mostly(_ROW, lines)

    def read(self, source: Source, options: Options) -> Iterator[Record]:
        named = _FILE.search(source.path.name)
        channel = channel_of(source, options, named[1] if named else None)
        ids, clock = IdMaker(), DayClock(options.timezone)
        for number, line in enumerate(source.lines(), 1):
            if header := _HEADER.match(line):
                clock.zone = _offset(header[7], header[8], header[9]) or options.timezone
                clock.begin(int(header[1]), int(header[2]), int(header[3]))
                continue
            if not line or line.isspace() or line.startswith("#"):
                continue
            stamped = _STAMPED.match(line)
            if stamped is None:
                yield Skipped(number, "no stamp")
                continue
            zone = _offset(stamped[7], stamped[8], stamped[9]) or clock.zone
            if stamped[1]:
                at_ms = utc_ms(int(stamped[1]), int(stamped[2]), int(stamped[3]), clock_of(stamped, 4), zone)
            else:
                at_ms = clock.at(clock_of(stamped, 4))
            yield _record(stamped[10], channel, at_ms, ids) or Skipped(number, "a notice, no chat", harmless=True)


def _record(text: str, channel: str, at_ms: int | None, ids: IdMaker) -> Record | None:
    if said := _SAID.match(text):
        return message_of(ids, channel, said[1], action(said[3]) if said[2] else said[3], at_ms)
    if ban := _BAN.match(text):
        return ClearedChatter(channel, ban[1].lower(), at_ms, seconds_of(ban[2]) if ban[2] else None)
    if deleted := _DELETED.match(text):
        return DeletedMessage(channel, "", deleted[1].lower(), deleted[2], at_ms)
    return ClearedRoom(channel, at_ms) if _CLEARED.match(text) else None


def _offset(sign: str | None, hours: str | None, minutes: str | None) -> tzinfo | None:
    if sign is None or int(hours or 0) > 23 or int(minutes or 0) > 59:
        return None
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    return timezone(-offset if sign == "-" else offset)
