"""Lines of chat as tokens: encoded once, cut into conversations for counting and scoring and into blocks for training.

Knows nothing of databases and of models.
"""

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from trainer.models.language_model import Tokens
from trainer.tokenizer import Line, Tokenizer


class SeenLine(Line, Protocol):
    """What is kept of a corpus.transcript.TranscriptLine beside its tokens."""

    @property
    def row(self) -> int: ...

    @property
    def conversation(self) -> int: ...


@dataclass(frozen=True)
class EncodedLines:
    """Lines back to back. `starts` has one entry a line and the total at the end; the rest has one entry a line.

    `characters` are those of the text, a mention counting as one, plus one for the end of the line. Neighbours with
    the same `conversation` follow each other in one conversation.
    """

    tokens: Tokens
    starts: npt.NDArray[np.int64]
    characters: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    conversations: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def spans(self) -> Iterator[tuple[int, int]]:
        """The half-open range of lines of each conversation."""
        edges = np.flatnonzero(np.diff(self.conversations)) + 1
        borders = [0, *edges.tolist(), len(self)]
        return ((start, end) for start, end in itertools.pairwise(borders) if end > start)

    def documents(self) -> list[Tokens]:
        """The tokens of each conversation."""
        return [self.tokens[self.starts[start] : self.starts[end]] for start, end in self.spans()]

    def select(self, start: int, end: int) -> "EncodedLines":
        """Only lines `start` to `end`."""
        return EncodedLines(
            self.tokens[self.starts[start] : self.starts[end]],
            self.starts[start : end + 1] - self.starts[start],
            self.characters[start:end],
            self.rows[start:end],
            self.conversations[start:end],
        )

    def join(self, other: "EncodedLines") -> "EncodedLines":
        return EncodedLines(
            np.concatenate([self.tokens, other.tokens]),
            np.concatenate([self.starts[:-1], other.starts + self.starts[-1]]),
            np.concatenate([self.characters, other.characters]),
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.conversations, other.conversations]),
        )


def encode_lines(lines: Sequence[SeenLine], tokenizer: Tokenizer) -> EncodedLines:
    """All lines through the tokenizer at once."""
    tokens, starts = tokenizer.encode_lines(lines)
    return EncodedLines(
        tokens,
        starts,
        np.array([_characters(line) for line in lines], dtype=np.int64),
        np.array([line.row for line in lines], dtype=np.int64),
        np.array([line.conversation for line in lines], dtype=np.int64),
    )


def excerpt(lines: EncodedLines, most: int, stretch: int = 50) -> EncodedLines:
    """At most about `most` lines, in stretches of neighbours spread evenly over all: a validation set of bounded cost.

    The choice depends on the number of lines alone, so that every evaluation of a run reads the same ones.
    """
    if len(lines) <= most:
        return lines
    stretches = max(1, most // stretch)
    length = most // stretches
    firsts = np.linspace(0, len(lines) - length, stretches).astype(np.int64)
    chosen = np.unique((firsts[:, None] + np.arange(length)).ravel())
    breaks = np.concatenate([[0], np.cumsum(np.diff(chosen) > 1)])
    sizes = np.diff(lines.starts)[chosen]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    places = np.repeat(lines.starts[chosen] - starts[:-1], sizes) + np.arange(starts[-1])
    # A jump in the excerpt must not look like a conversation going on.
    pairs = np.stack([breaks, lines.conversations[chosen]], axis=1)
    changes = np.concatenate([[0], np.cumsum(np.any(np.diff(pairs, axis=0) != 0, axis=1))]).astype(np.int64)
    return EncodedLines(lines.tokens[places], starts, lines.characters[chosen], lines.rows[chosen], changes)


def normalised(line: Line) -> str:
    """A message's text as it is compared with others: case and spacing do not make it a new one."""
    return " ".join("".join("\0" if isinstance(part, int) else part for part in line.parts).casefold().split())


def unseen(lines: Iterable[Line], trained_on: Collection[str]) -> npt.NDArray[np.bool_]:
    """Which lines say something that occurs nowhere in `trained_on` (a set of `normalised` texts)."""
    return np.array([normalised(line) not in trained_on for line in lines], dtype=bool)


def _characters(line: Line) -> int:
    return 1 + sum(1 if isinstance(part, int) else len(part) for part in line.parts)
