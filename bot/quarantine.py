"""What a moderator deleted of the companion's own lines: never said again, its teachers learned from no more."""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from bot.actions import LineKind
from bot.chat import ChatEvent, ChatterCleared, MessageDeleted
from bot.control import read_private, write_private
from bot.outbox import Record
from corpus.shingles import overlap, words_of

OWN_LINES = 500
LAST_LINES = 3
KEPT = 1_000
ALIKE = 0.6
_QUOTED = re.compile(r'"([^"]+)"')
TAUGHT = 0.5


class Quarantine:
    """Remembers what it said under which id, and what of that was taken back; the latter over a restart.

    `taken_back` is called with the words of a line that a moderator deleted. Of a narration that is what it quotes.
    Where the companion itself, by its login, is timed out or banned, its last few lines count as deleted.
    """

    def __init__(
        self, file: Path, taken_back: Callable[[list[str]], None] = lambda words: None, *, companion: str = ""
    ) -> None:
        self._file = file
        self._companion = companion
        self._taken_back = taken_back
        self._said: OrderedDict[str, str] = OrderedDict()
        kept = read_private(file).get("lines", [])
        self._lines: list[list[str]] = [words for words in kept if isinstance(words, list)]

    def on_record(self, record: Record) -> None:
        """Note what went out, and under which id."""
        text = record.line.text
        if record.line.kind == "narration":
            text = " ".join(_QUOTED.findall(text))
        if record.sent.message_id is not None and record.line.kind != "command" and text:
            self._said[record.sent.message_id] = text
            if len(self._said) > OWN_LINES:
                self._said.popitem(last=False)

    def on_event(self, event: ChatEvent) -> None:
        """A line of ours was deleted: never again."""
        if isinstance(event, MessageDeleted) and event.message_id in self._said:
            self._take_back(event.message_id)
        elif isinstance(event, ChatterCleared) and event.login == self._companion:
            for message_id in list(self._said)[-LAST_LINES:]:
                self._take_back(message_id)

    def _take_back(self, message_id: str) -> None:
        words = words_of(self._said.pop(message_id))
        if words:
            self._lines = [*self._lines[-KEPT + 1 :], words]
            write_private(self._file, {"lines": self._lines})
            self._taken_back(words)

    def objection(self, text: str, kind: LineKind) -> tuple[Literal["quarantined"], str] | None:
        """Whether a generated line is, or is much like, one that was taken back."""
        if kind == "command" or not self._lines:
            return None
        words = words_of(text)
        if any(overlap(line, words) >= ALIKE for line in self._lines):
            return "quarantined", "a moderator took such a line back"
        return None


def teachers(line: list[str], messages: Iterable[tuple[int, str]]) -> list[int]:
    """The rows of those messages that a line taken back resembles most: what it was learned from."""
    return [row for row, text in messages if _alike(line, words_of(text)) >= TAUGHT]


def _alike(line: list[str], words: list[str]) -> float:
    if len(words) < 3:
        return overlap(line, words)
    return max(overlap(words, line), overlap(line, words))
