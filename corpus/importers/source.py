"""A log file as text: unpacked, decoded, read in a stream. What every importer reads from and yields."""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import IO, AnyStr, Protocol

from corpus.errors import ImportFileError
from corpus.irc import LATEST_MS
from corpus.message import ChatMessage, Moderation

HEAD_BYTES = 64 * 1024
LONGEST_LINE = 64 * 1024  # no row of any log is this long: a longer one is passed over, piece by piece
LONGEST_SKIPPED = 256 * 1024 * 1024  # … and after so much of it the file is no log, however small it was packed
GZIP_MAGIC = b"\x1f\x8b"
UNREADABLE = "\0\n"
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that gave no message: where, and why in a few words. Harmless: it was read, and is no chat."""

    line: int
    why: str
    harmless: bool = False


Record = ChatMessage | Moderation | Skipped


@dataclass(frozen=True)
class Options:
    """What the operator knows and a log may not say."""

    channel: str | None = None
    timezone: tzinfo = UTC


@dataclass
class Source:
    """One file, opened as often as needed. `position` and `size` are bytes on disk, for a progress bar.

    `too_long` are the numbers of lines that were passed over for their length; `UNREADABLE` stands in their place.
    """

    path: Path
    size: int = 0
    position: int = 0
    encoding: str = "utf-8"
    head: str = ""
    head_cut: bool = False
    too_long: set[int] = field(default_factory=set)
    _raw: IO[bytes] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, path: Path) -> "Source":
        """Look at the beginning of a file. Raises `ImportFileError` for one that cannot be read."""
        source = cls(path)
        try:
            source.size = path.stat().st_size
            with source._bytes() as opened:
                start = opened.read(HEAD_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            raise ImportFileError(f"{path}: cannot be read ({error})") from error
        source.encoding = _encoding(start)
        source.head_cut = len(start) == HEAD_BYTES
        source.head = start.decode(source.encoding, "ignore").removeprefix("\ufeff")
        return source

    def text(self) -> IO[str]:
        """The whole file as text; what cannot be decoded becomes U+FFFD."""
        return io.TextIOWrapper(self._bytes(), self.encoding, "replace", newline="\n")

    def lines(self) -> Iterator[str]:
        """Line by line without line ends. Raises `ImportFileError` where a packed file is cut off."""
        try:
            with self.text() as text:
                for line in self._bounded(text.readline, "\n", UNREADABLE):
                    yield line.rstrip("\r\n")
        except (OSError, EOFError, zlib.error) as error:
            raise ImportFileError(f"{self.path}: the file breaks off ({error})") from error

    def byte_lines(self) -> Iterator[bytes]:
        """Line by line as UTF-8, undecoded where the file is UTF-8 already: half the cost of `lines`."""
        if self.encoding not in ("utf-8", "utf-8-sig"):
            yield from (line.encode() for line in self.lines())
            return
        try:
            with self._bytes() as opened:
                if opened.peek(3)[:3] == _MARKS[2][0]:
                    opened.read(3)
                yield from self._bounded(opened.readline, b"\n", UNREADABLE.encode())
        except (OSError, EOFError, zlib.error) as error:
            raise ImportFileError(f"{self.path}: the file breaks off ({error})") from error

    def _bounded(self, readline: Callable[[int], AnyStr], end: AnyStr, instead: AnyStr) -> Iterator[AnyStr]:
        """Lines of bounded length, `instead` for one that is longer: whatever a file holds, memory stays flat."""
        for number, line in enumerate(iter(partial(readline, LONGEST_LINE), end[:0]), 1):
            if len(line) < LONGEST_LINE or line.endswith(end):
                yield line
                continue
            self.too_long.add(number)
            skipped = 0
            while (piece := readline(LONGEST_LINE)) and not piece.endswith(end):
                skipped += len(piece)
                if skipped > LONGEST_SKIPPED:
                    raise ImportFileError(f"{self.path}: line {number} has no end; this is no log of chat")
            yield instead

    def consumed(self) -> int:
        """Bytes of the file read so far."""
        if self._raw is not None and not self._raw.closed:
            self.position = self._raw.tell()
        return self.position

    def _bytes(self) -> io.BufferedReader:
        raw = self.path.open("rb")
        self._raw = raw
        if raw.peek(2)[:2] == GZIP_MAGIC:
            return io.BufferedReader(_Unpacked(raw), 256 * 1024)
        return raw


class _Unpacked(gzip.GzipFile):
    """A gzip stream that closes the file below it."""

    def __init__(self, raw: IO[bytes]) -> None:
        super().__init__(fileobj=raw, mode="rb")
        self._below = raw

    def close(self) -> None:
        super().close()
        self._below.close()


class Importer(Protocol):
    """One log format. `name` is what the operator reads, `looks` what a file of it looks like."""

    name: str
    looks: str

    def recognises(self, source: Source) -> bool:
        """Whether the head of the file is of this format. Never raises."""

    def read(self, source: Source, options: Options) -> Iterator[Record]:
        """Every row as a record, in a stream. Raises `ImportFileError` only where the whole file makes no sense."""


def time_ms(stamp: object, zone: tzinfo) -> int | None:
    """UTC milliseconds of an ISO time or of a number of seconds or milliseconds; None for what is neither.

    Times without a zone are in `zone`.
    """
    try:
        if isinstance(stamp, str):
            if stamp.isdecimal() and stamp.isascii():
                return time_ms(int(stamp), zone)
            moment = datetime.fromisoformat(stamp)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=zone)
            return _plausible(int(moment.timestamp() * 1000))
        if isinstance(stamp, int | float) and not isinstance(stamp, bool):
            return _plausible(int(stamp if stamp >= 1 << 36 else stamp * 1000))  # 2^36 s is the year 4147, ms: 1972
    except (ValueError, OverflowError):
        return None
    return None


def _plausible(at_ms: int) -> int | None:
    return at_ms if 0 <= at_ms < LATEST_MS else None


def sound(text: str) -> str:
    """Text without half surrogate pairs, which are valid in JSON and no characters."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _encoding(start: bytes) -> str:
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    if start[:4].count(0) >= 2 and len(start) >= 8:  # ASCII in wider units, without a mark
        if start[:4].count(0) == 3:
            return "utf-32-le" if start[0] else "utf-32-be"
        return "utf-16-le" if start[0] else "utf-16-be"
    return "utf-8"
