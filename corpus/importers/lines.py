"""What the importers of text logs share: stamps to UTC, the head of a file, a row as a message."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from re import Match, Pattern

from corpus.errors import ImportFileError
from corpus.importers.made import IdMaker
from corpus.importers.source import Options, Source
from corpus.message import ChatMessage

_NOTICE = re.compile(
    r" (?:(?:just )?subscribed (?:at|with|for)\b|(?:is )?gift(?:ed|ing) (?:a |\d+ )?(?:Tier|month|Sub)"
    r"|converted from a |is (?:continuing|paying forward) the Gift |is raiding\b|renewed their\b)",
    re.IGNORECASE,
)
HEAD_LINES = 60
HALF_A_DAY_S = 12 * 3600


def head_lines(source: Source) -> list[str]:
    """The first lines with anything on them; the last one, which the head may cut, is left out of a longer file."""
    lines = source.head.split("\n")
    if len(lines) > 1 and source.head_cut:
        lines.pop()
    return [line.rstrip("\r") for line in lines if line.strip()][:HEAD_LINES]


def mostly(pattern: Pattern[str], lines: Iterable[str], share: float = 0.5) -> bool:
    """Whether at least this share of the lines matches, and one does."""
    matches = [pattern.match(line) is not None for line in lines]
    return any(matches) and sum(matches) >= share * len(matches)


def channel_of(source: Source, options: Options, found: str | None = None) -> str:
    """The channel the operator names, or the log. Raises `ImportFileError` when neither does."""
    channel = options.channel or (found or "").lstrip("#").lower()
    if not channel:
        raise ImportFileError(f"{source.path}: does not say which channel it is of; name it with --channel")
    return channel


def utc_ms(year: int, month: int, day: int, clock: tuple[int, int, int], zone: tzinfo) -> int | None:
    """UTC milliseconds of a date and a clock in a zone; None for a date that does not exist."""
    hour_ms = _hour_ms(year, month, day, clock[0], zone)
    return None if hour_ms is None or clock[1] > 59 or clock[2] > 60 else hour_ms + (clock[1] * 60 + clock[2]) * 1000


@lru_cache(maxsize=1024)
def _hour_ms(year: int, month: int, day: int, hour: int, zone: tzinfo) -> int | None:
    try:
        at_ms = int(datetime(year, month, day, hour, tzinfo=zone).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
    return at_ms if at_ms >= 0 else None


def clock_of(found: Match[str], first: int = 1) -> tuple[int, int, int]:
    """Hours, minutes and seconds from three groups of a match."""
    return int(found[first]), int(found[first + 1]), int(found[first + 2])


class DayClock:
    """Dates for a log that stamps its lines with the time of day only, from a date it names somewhere.

    A clock that jumps back by more than half a day has passed midnight.
    """

    def __init__(self, zone: tzinfo) -> None:
        self.zone = zone
        self._day: datetime | None = None
        self._last_s = 0

    def begin(self, year: int, month: int, day: int) -> None:
        """The log says what day it is. A date that does not exist is passed over."""
        try:
            self._day = datetime(year, month, day, tzinfo=UTC)
        except ValueError:
            return
        self._last_s = 0

    def at(self, clock: tuple[int, int, int]) -> int | None:
        """UTC milliseconds of a time of day; None before any date is known."""
        if self._day is None:
            return None
        second = clock[0] * 3600 + clock[1] * 60 + clock[2]
        if second < self._last_s - HALF_A_DAY_S and self._day.year < 9999:
            self._day += timedelta(days=1)
        self._last_s = second
        return utc_ms(self._day.year, self._day.month, self._day.day, clock, self.zone)


def message_of(
    ids: IdMaker, channel: str, name: str, text: str, sent_ms: int | None, *, stamp: int | None = None
) -> ChatMessage:
    """A row as a message. `stamp` tells rows apart where there is an offset but no time."""
    login = name.lower()
    made = ids.made(channel, login, text, stamp if sent_ms is None else sent_ms)
    return ChatMessage(made, channel, login, text, sent_ms, None, "" if name == login else name)


def is_notice(message: ChatMessage) -> bool:
    """Whether a log shows as somebody's line what the service wrote about them: `ann: ann subscribed at Tier 1. …`."""
    about = len(message.login)
    text = message.text
    return text[:about].lower() == message.login and _NOTICE.match(text, about) is not None


def action(text: str) -> str:
    """The text as `/me` sends it."""
    return f"\x01ACTION {text}\x01"


def seconds_of(duration: str) -> int | None:
    """`30s`, `7d`, `1d12h`, `600` as seconds; None for what is none of it."""
    total, number = 0, ""
    for character in duration:
        if character.isdecimal() and character.isascii():
            number += character
        elif number and character in _UNITS:
            total += int(number[:9]) * _UNITS[character]
            number = ""
        elif character != " ":
            return None
    return total + int(number[:9]) if number else total or None


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
