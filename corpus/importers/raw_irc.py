"""Raw tagged IRC lines as justlog and other loggers keep them: every message with its id, time and emotes."""

import re
from collections.abc import Iterator
from dataclasses import replace

from corpus.importers.lines import head_lines
from corpus.importers.made import IdMaker
from corpus.importers.source import Options, Record, Skipped, Source
from corpus.irc import IrcLine, chat_of, parse_line
from corpus.message import ChatMessage

_IRC = re.compile(r"^(@\S+ +)?:\S+ +([A-Z]+|\d{3})( |$)")


class RawIrc:
    name = "raw IRC (justlog)"
    looks = "@id=…;tmi-sent-ts=… :ann!ann@ann.tmi.twitch.tv PRIVMSG #bob :hi"

    def recognises(self, source: Source) -> bool:
        lines = head_lines(source)
        return bool(lines) and sum(_IRC.match(line) is not None for line in lines) * 2 > len(lines)

    def read(self, source: Source, options: Options) -> Iterator[Record]:
        ids = IdMaker()
        for number, raw in enumerate(source.lines(), 1):
            if raw and not raw.isspace():
                yield irc_record(raw, number, options, ids)


def irc_record(raw: str, number: int, options: Options, ids: IdMaker) -> Record:
    """One line of IRC as a record; older loggers kept no tags, then the id is made and the time missing."""
    line = parse_line(raw)
    if line is None or not _IRC.match(raw):
        return Skipped(number, "not an IRC line")
    if line.command == "PRIVMSG" and not line.tags.get("id") and line.trailing is not None and line.nick:
        line = _with_id(line, ids)
    record = chat_of(line)
    if record is None:
        return Skipped(number, f"no chat: {line.command}", harmless=True)
    if options.channel and record.channel != options.channel:
        channel = options.channel
        if isinstance(record, ChatMessage):
            record = record._replace(channel=channel)
        else:
            record = replace(record, channel=channel)
    if isinstance(record, ChatMessage) and not record.text:
        return Skipped(number, "no text")
    return record


def _with_id(line: IrcLine, ids: IdMaker) -> IrcLine:
    sent = line.tags.get("tmi-sent-ts", "")
    sent_ms = int(sent) if sent.isascii() and sent.isdecimal() and len(sent) < 15 else None
    made = ids.made(line.channel, line.nick.lower(), line.trailing or "", sent_ms)
    return replace(line, tags={**line.tags, "id": made})
