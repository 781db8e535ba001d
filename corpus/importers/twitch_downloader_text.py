"""TwitchDownloader's text: `[2024-01-01 00:00:12 UTC] Bob: LUL`, or with the offset into the VOD only."""

import re
from collections.abc import Iterator
from datetime import UTC

from corpus.importers.lines import channel_of, clock_of, head_lines, message_of, mostly, utc_ms
from corpus.importers.made import IdMaker
from corpus.importers.source import Options, Record, Skipped, Source

_DATED = re.compile(r"^\[(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?: UTC)?\] ([^:\s]{1,50}): (.+)$", re.DOTALL)
_OFFSET = re.compile(r"^\[(\d{1,3}):(\d\d):(\d\d)\] ([^:\s]{1,50}): (.+)$", re.DOTALL)
_ZONE = re.compile(r"^\[[^\]]* UTC\]")


class TwitchDownloaderText:
    name = "TwitchDownloader text"
    looks = "[2024-01-01 00:00:12 UTC] Bob: LUL   or   [0:00:12] Bob: LUL"

    def recognises(self, source: Source) -> bool:
        lines = head_lines(source)
        return mostly(_DATED, lines) or mostly(_OFFSET, lines)

    def read(self, source: Source, options: Options) -> Iterator[Record]:
        ids, channel = IdMaker(), channel_of(source, options)
        for number, line in enumerate(source.lines(), 1):
            if not line or line.isspace():
                continue
            if found := _DATED.match(line):
                zone = UTC if _ZONE.match(line) else options.timezone
                at_ms = utc_ms(int(found[1]), int(found[2]), int(found[3]), clock_of(found, 4), zone)
                if at_ms is None:
                    yield Skipped(number, "unreadable time")
                else:
                    yield message_of(ids, channel, found[7], found[8], at_ms)
            elif found := _OFFSET.match(line):
                hours, minutes, seconds = clock_of(found)
                offset_ms = ((hours * 60 + minutes) * 60 + seconds) * 1000
                yield message_of(ids, channel, found[4], found[5], None, stamp=offset_ms)
            else:
                yield Skipped(number, "no stamp and user")
