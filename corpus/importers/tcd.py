"""tcd's text of a VOD's chat: `[1:02:03] <user> text`, `<%user>` for a subscriber. Offsets only, no times."""

import re
from collections.abc import Iterator

from corpus.importers.lines import channel_of, clock_of, head_lines, message_of, mostly
from corpus.importers.made import IdMaker
from corpus.importers.source import Options, Record, Skipped, Source

_LINE = re.compile(r"^\[(\d{1,3}):(\d\d):(\d\d)\] <[~&@!%$+^]*([^\s<>]{1,50})> (.+)$", re.DOTALL)
_ONE_DIGIT = re.compile(r"^\[\d:")


class Tcd:
    name = "tcd"
    looks = "[1:02:03] <ann> hi"

    def recognises(self, source: Source) -> bool:
        lines = head_lines(source)  # Chatty writes hours with two digits
        return mostly(_LINE, lines) and _ONE_DIGIT.match(next(filter(_LINE.match, lines))) is not None

    def read(self, source: Source, options: Options) -> Iterator[Record]:
        ids, channel = IdMaker(), channel_of(source, options)
        for number, line in enumerate(source.lines(), 1):
            found = _LINE.match(line)
            if found:
                hours, minutes, seconds = clock_of(found)
                offset_ms = ((hours * 60 + minutes) * 60 + seconds) * 1000
                yield message_of(ids, channel, found[4], found[5], None, stamp=offset_ms)
            elif line and not line.isspace():
                yield Skipped(number, "no stamp and user")
