"""Chatterino's daily logs: `[01:41:29] user: text` in local time, the date in the header and the file's name only."""

import re
from collections.abc import Iterator

from corpus.importers.lines import DayClock, channel_of, clock_of, head_lines, message_of, seconds_of
from corpus.importers.made import IdMaker
from corpus.importers.source import Options, Record, Skipped, Source
from corpus.message import ClearedChatter, ClearedRoom, DeletedMessage, Moderation

_HEADER = re.compile(r"^# Start logging at (\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)")
_FILE = re.compile(r"^(?:(?P<channel>\w+)-)?(\d{4})-(\d\d)-(\d\d)\.log(?:\.gz)?$")
_STAMPED = re.compile(r"^\[(\d\d):(\d\d):(\d\d)\] {1,2}(.*)$", re.DOTALL)
# A localised name stands before the login: `名前 login: text`.
_SAID = re.compile(r"^(?:(?=\S*[^\x00-\x7f])(\S{1,50}) )?([A-Za-z0-9_]{1,25}): (.+)$", re.DOTALL)
_DURATION = r"(\d[\dsmhdw ]*)"
# Moderation is told in sentences, some of them signed like chat: `somemod: somemod timed out someuser for 7d.`
_TIMED_OUT = re.compile(rf"^(?:\w+ timed out (\w+) for|(\w+) has been timed out for) {_DURATION}", re.IGNORECASE)
_BANNED = re.compile(r"^(?:\w+ banned (\w+)\b|(\w+) has been (?:permanently )?banned)", re.IGNORECASE)
_DELETED = re.compile(
    r"^(?:\w+ deleted message from (\w+) saying: |A message from (\w+) was deleted: )(.+)$", re.DOTALL
)
_CLEARED = re.compile(r"^(?:\w+ cleared the chat|Chat has been cleared)", re.IGNORECASE)


class Chatterino:
    name = "Chatterino"
    looks = "# Start logging at 2021-09-13 00:21:25 …   then   [01:41:29] ann: hi"

    def recognises(self, source: Source) -> bool:
        return any(_HEADER.match(line) for line in head_lines(source))

    def read(self, source: Source, options: Options) -> Iterator[Record]:
        named = _FILE.match(source.path.name)
        channel = channel_of(source, options, (named and named["channel"]) or _folder(source))
        ids, clock = IdMaker(), DayClock(options.timezone)
        if named:
            clock.begin(int(named[2]), int(named[3]), int(named[4]))
        for number, line in enumerate(source.lines(), 1):
            header = _HEADER.match(line)
            if header:  # it stands again wherever logging was taken up again
                clock.begin(int(header[1]), int(header[2]), int(header[3]))
                continue
            if not line or line.isspace() or line.startswith("#"):
                continue
            stamped = _STAMPED.match(line)
            if stamped is None:
                yield Skipped(number, "no stamp")
                continue
            at_ms = clock.at(clock_of(stamped))
            said = _SAID.match(stamped[4])
            moderation = _moderation(stamped[4], channel, at_ms)
            if moderation is None and said and said[3].lower().startswith(f"{said[2].lower()} "):
                moderation = _moderation(said[3], channel, at_ms)
            if moderation is not None:
                yield moderation
            elif said:
                yield message_of(ids, channel, said[2], said[3], at_ms)
            else:
                yield Skipped(number, "a notice, no chat", harmless=True)


def _moderation(text: str, channel: str, at_ms: int | None) -> Moderation | None:
    if found := _TIMED_OUT.match(text):
        return ClearedChatter(channel, (found[1] or found[2]).lower(), at_ms, seconds_of(found[3].strip()))
    if found := _BANNED.match(text):
        return ClearedChatter(channel, (found[1] or found[2]).lower(), at_ms)
    if found := _DELETED.match(text):
        return DeletedMessage(channel, "", (found[1] or found[2]).lower(), found[3], at_ms)
    return ClearedRoom(channel, at_ms) if _CLEARED.match(text) else None


def _folder(source: Source) -> str | None:
    """`Twitch/Channels/<channel>/…`: the folder is named like the channel."""
    folder = source.path.resolve().parent
    return folder.name if folder.parent.name == "Channels" else None
