"""The memorisation guard: no line may repeat what one person alone wrote. Copypasta is culture, one's sentence is not.

Knows hashes only: of every run of eight words (a setting) of the stored messages, and of shorter messages as a whole,
each with the hashes of who said it.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from bot.actions import LineKind
from corpus.shingles import Shingle, Shingler, words_of

log = logging.getLogger(__name__)

SHORTEST_MESSAGE = 6
MERGE_AT = 200_000
NEARLY = "\0nearly"  # is no word, so that such a hash is none of a run
_EMPTY_KEYS = np.empty(0, dtype=np.int64)
_EMPTY_PEOPLE = np.empty(0, dtype=np.uint32)


class Memorisation:
    """Who said which run of words. 12 bytes a run and person; one line asks in microseconds.

    `words` in a row of one message are too many to repeat unless `people` different chatters said them. A message
    shorter than that is guarded as a whole, and without its first or its last word, down to six words; one of up to
    twice that as a whole with one word changed, left out or put in, which breaks every run in the middle. Deleted
    messages stay guarded until the next start: forgetting them here would make them sayable. Until `ready` everything
    generated is held back, for a guard that has not read the chat knows nothing of it.
    """

    def __init__(self, *, words: int, people: int, ready: bool = True) -> None:
        self._words = words
        self._people = people
        self._lock = threading.Lock()
        self._keys: npt.NDArray[np.int64] = _EMPTY_KEYS
        self._authors: npt.NDArray[np.uint32] = _EMPTY_PEOPLE
        self._recent: dict[int, set[int]] = defaultdict(set)
        self._recent_pairs = 0
        self.ready = ready

    @property
    def runs(self) -> int:
        """How many runs and people are remembered."""
        return len(self._keys) + self._recent_pairs

    def learn(self, login: str, text: str) -> None:
        """Somebody said this."""
        author = hash(login) & 0xFFFFFFFF
        with self._lock:
            for key in self._stored_keys(words_of(text)):
                people = self._recent[key]
                before = len(people)
                people.add(author)
                self._recent_pairs += len(people) - before
            if self._recent_pairs >= MERGE_AT:
                self._merge()

    def read(self, messages: Iterable[tuple[str, str]]) -> None:
        """Learn from (login, text) pairs and be ready. May run in a thread of its own."""
        for login, text in messages:
            self.learn(login, text)
        with self._lock:
            self._merge()
        self.ready = True

    def objection(self, text: str, kind: LineKind) -> tuple[Literal["memorised"], str] | None:
        """What a generated line repeats of one person's words, if anything."""
        if kind == "command":
            return None
        words = words_of(text)
        keys = list(self._asked_keys(words))
        if not keys:
            return None
        if not self.ready:
            return "memorised", "still reading what was said by whom"
        with self._lock:
            known = [key for key in keys if key in self._recent]
            if len(self._keys):
                asked = np.array(keys, dtype=np.int64)
                at = np.searchsorted(self._keys, asked)
                at[at == len(self._keys)] = 0
                known += asked[self._keys[at] == asked].tolist()
            for key in known:
                if self._said_by(key) < self._people:
                    return (
                        "memorised",
                        f"{min(self._words, len(words))} words in a row of one person's message, or nearly all",
                    )
        return None

    def _said_by(self, key: int) -> int:
        first, last = np.searchsorted(self._keys, key), np.searchsorted(self._keys, key, side="right")
        people = set(self._authors[first:last].tolist())
        return len(people | self._recent.get(key, set()))

    def _stored_keys(self, words: Sequence[str]) -> Iterator[int]:
        """What is remembered of a message."""
        size, most = len(words), self._words
        for at in range(size - most + 1):
            yield hash(tuple(words[at : at + most]))
        if SHORTEST_MESSAGE <= size < most:
            yield hash(tuple(words))
        if SHORTEST_MESSAGE < size <= most:
            yield hash(tuple(words[1:]))
            yield hash(tuple(words[:-1]))
        if most <= size < 2 * most:
            yield from _nearly(words)

    def _asked_keys(self, words: Sequence[str]) -> Iterator[int]:
        """What of a line might be remembered."""
        for size in range(SHORTEST_MESSAGE, self._words + 1):
            for at in range(len(words) - size + 1):
                yield hash(tuple(words[at : at + size]))
        if self._words - 1 <= len(words) <= 2 * self._words:
            yield from _nearly(words)

    def _merge(self) -> None:
        """Move what is recent into the sorted arrays."""
        if not self._recent_pairs:
            return
        keys = np.fromiter((key for key, people in self._recent.items() for _ in people), np.int64, self._recent_pairs)
        authors = np.fromiter(
            (one for people in self._recent.values() for one in people), np.uint32, self._recent_pairs
        )
        keys, authors = np.concatenate([self._keys, keys]), np.concatenate([self._authors, authors])
        order = np.lexsort((authors, keys))
        keys, authors = keys[order], authors[order]
        new = np.ones(len(keys), dtype=bool)
        new[1:] = (keys[1:] != keys[:-1]) | (authors[1:] != authors[:-1])
        self._keys, self._authors = keys[new], authors[new]
        self._recent.clear()
        self._recent_pairs = 0


def _nearly(words: Sequence[str]) -> Iterator[int]:
    """A message as a whole and without each of its words: two texts that differ in one word have one in common."""
    yield hash((NEARLY, *words))
    for at in range(len(words)):
        yield hash((NEARLY, *words[:at], *words[at + 1 :]))


class Forgotten:
    """The words of people who have left, held back until a model serves that never learned from them.

    Three-word runs of theirs are held back at once. `thin` then lets go of what others say too, and from there on
    single words that nobody else ever used, such as a name, are held back as well.
    """

    def __init__(self, shingler: Shingler) -> None:
        self._shingler = shingler
        self._held: dict[Shingle, int] = {}
        self._words: set[Shingle] = set()

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, suppressed: dict[Shingle, int]) -> None:
        """What the database says is to be held back now."""
        self._held = dict(suppressed)
        self._words = {word for word in self._words if word in suppressed}

    def thin(self, others: Iterable[str]) -> None:
        """Let go of what these texts, of people who have not left, say as well. May run in a thread of its own."""
        held = dict(self._held)
        for text in others:
            for shingle in self._shingler.shingles(text):
                held.pop(shingle, None)
        self._held = held
        self._words = {shingle for shingle in held if not shingle & 1}

    def serves(self, removal: int) -> None:
        """The model that speaks now has followed the feed of removals up to here."""
        self._held = {shingle: number for shingle, number in self._held.items() if number > removal}
        self._words &= set(self._held)

    def objection(self, text: str, kind: LineKind) -> tuple[Literal["forgotten"], str] | None:
        """Whether a line says what somebody said who has left."""
        if not self._held or kind == "command":
            return None
        for shingle in self._shingler.shingles(text):
            if (shingle & 1 and shingle in self._held) or shingle in self._words:
                return "forgotten", "words of somebody who asked to be forgotten"
        return None
