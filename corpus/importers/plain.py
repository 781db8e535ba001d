"""Plain `user: text`, one message a line, no times: what people paste together by hand."""

import re
from collections.abc import Iterator

from corpus.importers.lines import channel_of, head_lines, message_of, mostly
from corpus.importers.made import IdMaker
from corpus.importers.source import Options, Record, Skipped, Source

_LINE = re.compile(r"^<?@?([^\s:<>@\[\]{}\"#]{1,50})>?: (.+)$", re.DOTALL)


class Plain:
    name = "plain text"
    looks = "ann: hi"

    def recognises(self, source: Source) -> bool:
        return mostly(_LINE, head_lines(source), 0.8)

    def read(self, source: Source, options: Options) -> Iterator[Record]:
        ids, channel = IdMaker(), channel_of(source, options)
        for number, line in enumerate(source.lines(), 1):
            found = _LINE.match(line)
            if found:
                yield message_of(ids, channel, found[1], found[2], None)
            elif line and not line.isspace():
                yield Skipped(number, "no user before the text")
