"""Fast memory: a modified Kneser-Ney n-gram over token ids that learns and unlearns one line in microseconds.

The counts are a trie in sorted NumPy arrays, fitted at once and changed in place; what the fit had not seen hangs in
dictionaries beside them. Everything kept is an integer, so what is learned and unlearned again leaves no trace.
Knows nothing of text, tokenizers or time.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.models.language_model import LogProbabilities, Tokens

Integers = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]

ABSENT = -1
FAMILIARITY_EDGES = (2, 5, 17)  # how often a context was seen: once, up to 4, up to 16 times, or more often
FAMILIARITY_CLASSES = len(FAMILIARITY_EDGES) + 1
DEFAULT_DISCOUNTS = (0.0, 0.5, 1.0, 1.5)  # where a young memory has too few counts of counts to estimate them


@dataclass
class _Level:
    """The k-grams. Node i is the k-gram that ends in word[i]; nodes of one context are neighbours, sorted by word.

    `first[i]` is where the (k+1)-grams that extend node i start in the next level. `total`, `ones`, `twos`, `more`
    sum up these extensions: their counts, and how many have a count of one, of two, of three and more. Nodes from
    `fitted` on were learned one by one: `grown[context][word]` finds them.
    """

    word: Integers
    count: npt.NDArray[np.int32]
    fitted: int
    used: int
    first: Integers = field(default_factory=lambda: np.zeros(1, np.int64))
    total: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    ones: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    twos: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    more: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    lookup: memoryview = field(default_factory=lambda: memoryview(b""))  # `word`, read four times as fast one by one
    grown: dict[int, dict[int, int]] = field(default_factory=dict)
    free: list[int] = field(default_factory=list)
    counts_of_counts: list[int] = field(default_factory=lambda: [0, 0, 0, 0, 0])

    def nodes_with_room(self) -> int:
        return len(self.count)


class NGram:
    """A `LanguageModel` of counts.

    With a `line_end` token the memory is of lines, each opened by a token that says who speaks: no context reaches
    past it, so each line is counted independently of its neighbours and can be taken back exactly. What is said is
    counted alike for all openers (docs/experiments.md). Without `line_end` the memory is of one running text.
    The counts below the highest order are continuation counts (in how many contexts has this been seen?), but for
    the grams that open a line: nothing can stand before them, so they are counted as they occur.
    """

    def __init__(self, vocab_size: int, order: int, line_end: int | None) -> None:
        if order < 1:
            raise ValueError(f"an n-gram's order is at least 1, not {order}")
        self._vocab_size = vocab_size
        self.order = order
        self.line_end = line_end
        nothing = np.zeros(0, np.int64)
        self._levels = [_level(nothing, nothing, vocab_size) for _ in range(order + 1)]
        # One node for each token, and one for the opening of a line, whoever opened it.
        self._opening = vocab_size
        nodes = vocab_size + 1
        self._levels[1] = _Level(np.zeros(0, np.int32), _zeros(nodes), nodes, nodes)
        self._levels[1].first = np.zeros(nodes + 1, np.int32)
        for sums in ("total", "ones", "twos", "more"):
            setattr(self._levels[1], sums, _zeros(nodes))
        self._root = [0, 0, 0, 0]  # total, ones, twos, more of the first level
        self._version = 0
        self._discounts_at: tuple[int, list[tuple[float, float, float, float]]] = (-1, [])
        self._unigrams_at: tuple[int, Floats] = (-1, np.zeros(0))

    @property
    def vocab_size(self) -> int:
        return self._vocab_size

    @property
    def parameters(self) -> int:
        """How many different grams are remembered."""
        return sum(sum(level.counts_of_counts) for level in self._levels[1:])

    @classmethod
    def fit(cls, tokens: Tokens, *, vocab_size: int, order: int, line_end: int | None) -> "NGram":
        """Count a whole text, or whole lines one after the other: seconds for millions of tokens."""
        model = cls(vocab_size, order, line_end)
        stream, lengths, grams = model._stream(tokens)
        levels = model._levels
        parents = [np.zeros(0, np.int64) for _ in range(order + 2)]
        levels[1].count += np.bincount(stream[lengths == 1], minlength=vocab_size + 1).astype(np.int32)
        for k in range(2, order + 1):
            places = np.flatnonzero(lengths >= k)
            keys = grams[places - 1] * vocab_size + stream[places]
            sorted_keys, by_key = _sorted(keys)
            new = np.ones(len(keys), bool)
            new[1:] = sorted_keys[1:] != sorted_keys[:-1]
            nodes = np.empty(len(keys), np.int64)
            nodes[by_key] = np.cumsum(new) - 1
            distinct = sorted_keys[new]
            # Each new k-gram is one more context in which its last k - 1 words have been seen.
            shorter = (stream if k == 2 else grams)[places[by_key[new]]]
            below = levels[k - 1]
            below.count += np.bincount(shorter, minlength=len(below.count)).astype(np.int32)
            whole = lengths[places] == k if k < order else np.ones(len(places), bool)
            size = len(distinct)
            levels[k] = _level(distinct % vocab_size, np.bincount(nodes[whole], minlength=size), vocab_size)
            parents[k] = distinct // vocab_size
            grams[:] = ABSENT
            grams[places] = nodes
        for k in range(1, order + 1):
            model._sum_up(k, parents[k + 1])
        return model

    def learn(self, line: Sequence[int]) -> None:
        """Count one more line (or, without a `line_end`, one more text): as if it had been there at the fit."""
        for grams in self._grams(line, create=True):
            for k in range(len(grams), 0, -1):
                if self._add(k, grams[k - 1], 1) != 1:
                    break
        self._version += 1

    def unlearn(self, line: Sequence[int]) -> None:
        """Take back a line that was learned or fitted. Raises `ValueError`, changing nothing, for one that was not."""
        found = list(self._grams(line, create=False))
        wanted = Counter((len(grams), grams[-1][2]) for grams in found)
        if any(node == ABSENT or self._levels[k].count[node] < times for (k, node), times in wanted.items()):
            raise ValueError("cannot unlearn a line that was never learned")
        for grams in reversed(found):
            for k in range(len(grams), 0, -1):
                if self._add(k, grams[k - 1], -1) != 0:
                    break
        self._version += 1

    def score(self, tokens: Tokens) -> LogProbabilities:
        return self.score_with_familiarity(tokens)[0]

    def score_with_familiarity(self, tokens: Tokens) -> tuple[LogProbabilities, npt.NDArray[np.int64]]:
        """The scores, and how well the context of each token is known: a number below `familiarities`."""
        stream, lengths, grams = self._stream(tokens)
        discounts = self._discounts()
        counts = self._levels[1].count[stream]
        total, ones, twos, more = self._root
        d = discounts[1]
        probability = np.full(len(stream), 1.0 / self._vocab_size)
        if total:
            back_off = d[1] * ones + d[2] * twos + d[3] * more
            probability = (_discounted(counts, d) + back_off * probability) / total
        familiarity = np.zeros(len(stream), np.int64)
        for k in range(2, self.order + 1):
            places = np.flatnonzero(lengths >= k)
            contexts = grams[places - 1]
            known = contexts != ABSENT
            places, contexts = places[known], contexts[known]
            nodes = self._find_all(k, contexts, stream[places])
            below, level, d = self._levels[k - 1], self._levels[k], discounts[k]
            totals = below.total[contexts].astype(np.float64)
            back_off = d[1] * below.ones[contexts] + d[2] * below.twos[contexts] + d[3] * below.more[contexts]
            seen = np.where(nodes == ABSENT, 0, level.count[nodes] if len(level.count) else 0)
            follows = totals > 0
            places_seen = places[follows]
            probability[places_seen] = (
                _discounted(seen[follows], d) + back_off[follows] * probability[places_seen]
            ) / totals[follows]
            familiarity[places_seen] = _familiarity(k, totals[follows])
            grams[:] = ABSENT
            grams[places] = nodes
        if self.line_end is not None:
            familiarity[1:][stream[:-1] == self.line_end] = 0
        scores: LogProbabilities = np.log(probability[lengths > 0]).astype(np.float32)
        return scores, familiarity[lengths > 0]

    @property
    def familiarities(self) -> int:
        """How many degrees of familiarity there are. 0 is a line about to open, or nothing known at all."""
        return 1 + FAMILIARITY_CLASSES * max(1, self.order - 1)

    def familiarity(self, state: Sequence[int]) -> int:
        """How well a decoder's context is known, as `score_with_familiarity` has it."""
        if self.line_end is not None and list(state) == self.start():
            return 0
        for k in range(len(state) + 1, 1, -1):
            total = int(self._levels[k - 1].total[state[k - 2]])
            if total:
                return 1 + FAMILIARITY_CLASSES * (k - 2) + bisect_right(FAMILIARITY_EDGES, total)
        return 0

    def score_documents(self, documents: Sequence[Tokens]) -> list[LogProbabilities]:
        """`score` of each, in one go where the documents are whole lines."""
        whole = self.line_end is not None and all(
            len(document) and document[-1] == self.line_end for document in documents
        )
        if not whole or not documents:
            return [self.score(document) for document in documents]
        edges = np.cumsum([len(document) for document in documents])[:-1]
        return np.split(self.score(np.concatenate(documents)), edges)

    def decoder(self, context: Sequence[int], batch: int) -> "NGramDecoder":
        return NGramDecoder(self, self.state(context), batch)

    def distribution(self, state: Sequence[int]) -> Floats:
        """Every token's probability after `state`, shape (vocab_size,). A state is what `advance` made."""
        probabilities = self._unigrams().copy()
        discounts = self._discounts()
        for k, context in enumerate(state, start=2):
            below, level = self._levels[k - 1], self._levels[k]
            total = int(below.total[context])
            if not total:
                continue
            d = discounts[k]
            back_off = (
                d[1] * int(below.ones[context]) + d[2] * int(below.twos[context]) + d[3] * int(below.more[context])
            )
            probabilities *= back_off / total
            if context < below.fitted:
                start, stop = int(below.first[context]), int(below.first[context + 1])
                if stop - start > 8:
                    probabilities[level.word[start:stop]] += _discounted(level.count[start:stop], d) / total
                else:  # most contexts are followed by few words, and those are quicker one by one
                    for word, count in zip(level.lookup[start:stop], level.count[start:stop].tolist(), strict=True):
                        probabilities[word] += (count - d[min(count, 3)]) / total
            for word, node in level.grown.get(context, {}).items():
                count = int(level.count[node])
                probabilities[word] += (count - d[min(count, 3)]) / total
        return probabilities

    def openers(self) -> Integers:
        """The tokens that a remembered line begins with, whoever opened it; none without a `line_end`."""
        if self.line_end is None or self.order < 2:
            return np.zeros(0, np.int64)
        level = self._levels[2]
        fitted = slice(int(self._levels[1].first[self._opening]), int(self._levels[1].first[self._opening + 1]))
        words = level.word[fitted][level.count[fitted] > 0]
        grown = [word for word, node in level.grown.get(self._opening, {}).items() if level.count[node] > 0]
        return np.concatenate([words.astype(np.int64), np.array(grown, np.int64)])

    def follows(self, token: int, following: int) -> bool:
        """Whether one was remembered right behind the other, inside a line."""
        node = self._find(2, token, following) if self.order > 1 else ABSENT
        return node != ABSENT and bool(self._levels[2].count[node] > 0)

    def start(self) -> list[int]:
        """The state before anything is said: at the start of a line, or of the text."""
        return [] if self.line_end is None or self.order == 1 else [self.line_end]

    def advance(self, state: Sequence[int], token: int) -> list[int]:
        """The state behind one more token: for each length of context the node that it is, up to the longest known."""
        if self.order == 1:
            return []
        if token == self.line_end:
            return self.start()
        if self.line_end is not None and list(state) == self.start():
            return [self._opening]
        longer = [token]
        for k, context in enumerate(state[: self.order - 2], start=2):
            node = self._find(k, context, token)
            if node == ABSENT:
                break
            longer.append(node)
        return longer

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The whole memory as plain arrays, without what has been unlearned; `from_arrays` reads them back."""
        line_end = ABSENT if self.line_end is None else self.line_end
        arrays: dict[str, npt.NDArray[Any]] = {"shape": np.array([self._vocab_size, self.order, line_end], np.int64)}
        arrays["count1"] = _narrow(self._levels[1].count)
        renumbered = np.arange(self._levels[1].fitted)
        for k in range(2, self.order + 1):
            level = self._levels[k]
            below = self._levels[k - 1]
            parents = np.zeros(level.used, np.int64)
            words = np.zeros(level.used, np.int64)
            parents[: level.fitted] = np.repeat(np.arange(below.fitted), np.diff(below.first[: below.fitted + 1]))
            words[: level.fitted] = level.word
            for context, grown in level.grown.items():
                for word, node in grown.items():
                    parents[node], words[node] = context, word
            alive = np.flatnonzero(level.count[: level.used] > 0)
            keys = renumbered[parents[alive]] * self._vocab_size + words[alive]
            by_key = np.argsort(keys)
            renumbered = np.full(level.used, ABSENT, np.int64)
            renumbered[alive[by_key]] = np.arange(len(alive))
            children = np.bincount(keys // self._vocab_size, minlength=len(arrays[f"count{k - 1}"]))
            arrays[f"children{k - 1}"] = _narrow(children)
            arrays[f"word{k}"] = _narrow(keys[by_key] % self._vocab_size)
            arrays[f"count{k}"] = _narrow(level.count[alive[by_key]])
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "NGram":
        """Raises `ValueError` for arrays that do not belong together."""
        try:
            vocab_size, order, line_end = (int(number) for number in arrays["shape"])
            model = cls(vocab_size, order, None if line_end == ABSENT else line_end)
            model._levels[1].count[:] = arrays["count1"]
            parents = [np.zeros(0, np.int64) for _ in range(order + 2)]
            for k in range(2, order + 1):
                words, counts = arrays[f"word{k}"], arrays[f"count{k}"]
                parents[k] = np.repeat(np.arange(len(arrays[f"children{k - 1}"])), arrays[f"children{k - 1}"])
                if not len(words) == len(counts) == len(parents[k]):
                    raise ValueError(f"{len(words)} words, {len(counts)} counts, {len(parents[k])} parents")
                _check_range(words, vocab_size)
                model._levels[k] = _level(words, counts, vocab_size)
        except KeyError as error:
            raise ValueError(f"an n-gram without its {error}") from error
        for k in range(1, order + 1):
            model._sum_up(k, parents[k + 1])
        return model

    def compact(self) -> None:
        """Merge what was learned one by one into the sorted arrays: as slow as a fit, for memories that live long."""
        merged = NGram.from_arrays(self.to_arrays())
        self._levels, self._root = merged._levels, merged._root
        self._version += 1

    @property
    def grown(self) -> int:
        """How many grams hang beside the arrays, learned since the fit or the last `compact`."""
        return sum(level.used - level.fitted - len(level.free) for level in self._levels[2:])

    def nbytes(self) -> int:
        """Memory of the arrays, in bytes, the room kept for growth included."""
        return sum(
            array.nbytes
            for level in self._levels
            for array in (level.word, level.count, level.first, level.total, level.ones, level.twos, level.more)
        )

    def _stream(self, tokens: Tokens) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The tokens behind a first `line_end`, the length of the longest gram that ends at each, their context nodes.

        The first `line_end` itself is context only: length 0.
        """
        tokens = np.asarray(tokens, np.int64)
        _check_range(tokens, self._vocab_size)
        if self.line_end is None:
            return tokens, np.minimum(np.arange(1, len(tokens) + 1), self.order), tokens.copy()
        stream = np.concatenate([[self.line_end], tokens])
        places = np.arange(len(stream))
        ends = np.where(stream == self.line_end, places, 0)
        last_end = np.concatenate([[0], np.maximum.accumulate(ends)[:-1]])
        lengths = places - last_end
        contexts = np.where(lengths == 1, self._opening, stream)
        lengths[lengths == 1] = 2  # a line's first token follows the end of the line before
        lengths[0], contexts[0] = 0, self.line_end
        return stream, np.minimum(lengths, self.order), contexts

    def _sum_up(self, k: int, parents_above: Integers) -> None:
        """Fill in a fitted level's sums over its extensions, and its counts of counts."""
        level = self._levels[k]
        counted = np.bincount(np.minimum(level.count[: level.fitted], 5), minlength=6)
        level.counts_of_counts = [int(number) for number in counted[1:6]]
        if k == 1:
            counts = level.count[: level.fitted]
            self._root = [
                int(counts.sum()),
                int((counts == 1).sum()),
                int((counts == 2).sum()),
                int((counts > 2).sum()),
            ]
        if k == self.order:
            return
        above = self._levels[k + 1]
        counts = above.count[: above.fitted]
        room = level.nodes_with_room()
        level.first = np.zeros(max(level.fitted, 1) + 1, np.int64)
        np.cumsum(np.bincount(parents_above, minlength=level.fitted), out=level.first[1 : level.fitted + 1])
        if level.first[-1] < 2**31:
            level.first = level.first.astype(np.int32)
        level.total = _zeros(room)
        level.total[: level.fitted] = np.bincount(parents_above, weights=counts, minlength=level.fitted)
        for name, matching in (("ones", counts == 1), ("twos", counts == 2), ("more", counts > 2)):
            sums = _zeros(room)
            sums[: level.fitted] = np.bincount(parents_above[matching], minlength=level.fitted)
            setattr(level, name, sums)

    def _find_all(self, k: int, contexts: Integers, words: Integers) -> npt.NDArray[np.int64]:
        """The k-gram nodes of many contexts and words at once, ABSENT where there is none."""
        below, level = self._levels[k - 1], self._levels[k]
        fitted = contexts < below.fitted
        inside = np.where(fitted, contexts, 0)
        low = np.where(fitted, below.first[inside], 0).astype(np.int64)
        high = np.where(fitted, below.first[inside + 1], 0).astype(np.int64)
        nodes = np.full(len(contexts), ABSENT, np.int64)
        pending = np.flatnonzero(low < high)
        low, high, wanted = low[pending], high[pending], np.asarray(words)[pending]
        while len(pending):
            middle = (low + high) >> 1
            here = level.word[middle]
            hit = here == wanted
            nodes[pending[hit]] = middle[hit]
            right = here < wanted
            low = np.where(right, middle + 1, low)
            high = np.where(right, high, middle)
            on = ~hit & (low < high)
            pending, low, high, wanted = pending[on], low[on], high[on], wanted[on]
        if level.grown:
            for place in np.flatnonzero(nodes == ABSENT):
                grown = level.grown.get(int(contexts[place]))
                if grown is not None:
                    nodes[place] = grown.get(int(words[place]), ABSENT)
        return nodes

    def _find(self, k: int, context: int, word: int) -> int:
        """The node of one k-gram that is remembered at present, or ABSENT."""
        below, level = self._levels[k - 1], self._levels[k]
        if context < below.fitted:
            stop = int(below.first[context + 1])
            node = bisect_left(level.lookup, word, int(below.first[context]), stop)
            if node < stop and level.lookup[node] == word:
                return node
        grown = level.grown.get(context)
        return ABSENT if grown is None else grown.get(word, ABSENT)

    def _grams(self, line: Sequence[int], create: bool) -> list[list[tuple[int, int, int]]]:
        """For each place of a line the grams that end there, shortest first, as (context, word, node)."""
        line = [int(token) for token in line]
        if line and not 0 <= min(line) <= max(line) < self._vocab_size:
            raise ValueError(
                f"token ids reach from 0 to {self._vocab_size - 1}, not to {max(line)} or from {min(line)}"
            )
        found = []
        state = self.start()
        for place, token in enumerate(line):
            grams = [(ABSENT, token, token)]
            for k, context in enumerate(state, start=2):
                node = ABSENT if context == ABSENT else self._find(k, context, token)
                if node == ABSENT and create:
                    node = self._grow(k, context, token)
                grams.append((context, token, node))
            found.append(grams)
            opening = self.line_end is not None and (place == 0 or line[place - 1] == self.line_end)
            if self.order == 1:
                state = []
            elif token == self.line_end:
                state = self.start()
            elif opening:
                state = [self._opening]
            else:
                state = [node for _, _, node in grams][: self.order - 1]
        return found

    def _grow(self, k: int, context: int, word: int) -> int:
        level = self._levels[k]
        if level.free:
            node = level.free.pop()
        else:
            node = level.used
            level.used += 1
            if node >= level.nodes_with_room():
                more = max(1024, node // 4)
                level.count = _extended(level.count, more)
                if k < self.order:
                    level.total, level.ones = _extended(level.total, more), _extended(level.ones, more)
                    level.twos, level.more = _extended(level.twos, more), _extended(level.more, more)
        level.grown.setdefault(context, {})[word] = node
        return node

    def _add(self, k: int, gram: tuple[int, int, int], change: int) -> int:
        """Add to one gram's count and to every sum it is part of; its new count."""
        context, word, node = gram
        level = self._levels[k]
        before = int(level.count[node])
        after = before + change
        level.count[node] = after
        counts_of_counts = level.counts_of_counts
        if before:
            counts_of_counts[min(before, 5) - 1] -= 1
        if after:
            counts_of_counts[min(after, 5) - 1] += 1
        if k == 1:
            self._root[0] += change
            if before:
                self._root[min(before, 3)] -= 1
            if after:
                self._root[min(after, 3)] += 1
            return after
        below = self._levels[k - 1]
        below.total[context] += change
        if before < 3 or after < 3:
            classes = (None, below.ones, below.twos, below.more)
            left, joined = classes[min(before, 3)], classes[min(after, 3)]
            if left is not None:
                left[context] -= 1
            if joined is not None:
                joined[context] += 1
        if not after and node >= level.fitted:
            siblings = level.grown[context]
            del siblings[word]
            if not siblings:
                del level.grown[context]
            level.free.append(node)
        return after

    def state(self, context: Sequence[int]) -> list[int]:
        """The state behind a context of any length."""
        recent = [int(token) for token in context]
        if self.line_end is None:
            recent = recent[-self.order :]
        elif self.line_end in recent:
            recent = recent[len(recent) - recent[::-1].index(self.line_end) :]
        state = self.start()
        for token in recent:
            state = self.advance(state, token)
        return state

    def _discounts(self) -> list[tuple[float, float, float, float]]:
        """By order, what is taken off counts of 0, 1, 2, 3 and more (Chen and Goodman 1998), from today's counts."""
        if self._discounts_at[0] != self._version:
            discounts = [modified_discounts(level.counts_of_counts) for level in self._levels]
            self._discounts_at = (self._version, discounts)
        return self._discounts_at[1]

    def _unigrams(self) -> Floats:
        if self._unigrams_at[0] != self._version:
            total, ones, twos, more = self._root
            probabilities = np.full(self._vocab_size, 1.0 / self._vocab_size)
            if total:
                d = self._discounts()[1]
                back_off = d[1] * ones + d[2] * twos + d[3] * more
                probabilities = (
                    _discounted(self._levels[1].count[: self._vocab_size], d) + back_off * probabilities
                ) / total
            self._unigrams_at = (self._version, probabilities)
        return self._unigrams_at[1]


class NGramDecoder:
    """A batch of continuations of one context."""

    def __init__(self, model: NGram, state: Sequence[int], batch: int) -> None:
        self._model = model
        self._states = [list(state) for _ in range(batch)]

    def log_probabilities(self) -> LogProbabilities:
        """Natural-log probabilities of the next token, shape (batch, vocab_size); equal states share the work."""
        known: dict[tuple[int, ...], Floats] = {}
        rows = []
        for state in self._states:
            key = tuple(state)
            if key not in known:
                known[key] = self._model.distribution(state)
            rows.append(known[key])
        return np.log(np.stack(rows)).astype(np.float32)

    def push(self, tokens: Sequence[int]) -> None:
        self._states = [
            self._model.advance(state, int(token)) for state, token in zip(self._states, tokens, strict=True)
        ]

    def keep(self, rows: Sequence[int]) -> None:
        self._states = [list(self._states[row]) for row in rows]


def modified_discounts(counts_of_counts: Sequence[int]) -> tuple[float, float, float, float]:
    """What modified Kneser-Ney takes off counts of 0, 1, 2, 3+, from how many grams have a count of 1, 2, 3, 4."""
    n1, n2, n3, n4 = (float(number) for number in counts_of_counts[:4])
    if not (n1 and n2 and n3 and n4):
        return DEFAULT_DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    estimates = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    # Chat is not natural text: floods and copypasta can push an estimate below nothing or above the count itself.
    d1, d2, d3 = (min(max(d, 0.05), c - 0.05) for c, d in enumerate(estimates, start=1))
    return 0.0, d1, d2, d3


def _discounted(counts: Integers, discounts: tuple[float, float, float, float]) -> Floats:
    discounted: Floats = counts - np.array(discounts)[np.minimum(counts, 3)]
    return discounted


def _familiarity(k: int, totals: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """A number for contexts of k - 1 tokens that were seen once, up to 4, up to 16 times, or more often."""
    seen: npt.NDArray[np.int64] = 1 + FAMILIARITY_CLASSES * (k - 2) + np.digitize(totals, FAMILIARITY_EDGES)
    return seen


def _level(words: Integers, counts: Integers, vocab_size: int) -> _Level:
    """Fitted nodes, and room for some to grow; pages that are never touched cost no memory."""
    size = len(words)
    word: Integers = words.astype(np.uint16) if vocab_size <= 2**16 else words.astype(np.uint32)
    count = _zeros(size + size // 4 + 1024)
    count[:size] = counts
    return _Level(word, count, fitted=size, used=size, lookup=memoryview(word))  # type: ignore[arg-type]


def _sorted(keys: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The keys in ascending order, and the places they come from.

    Where key and place fit into one number, sorting such numbers takes half as long as sorting places by their keys.
    """
    bits = max(1, len(keys).bit_length())
    if not len(keys) or int(keys.max()) >= 2 ** (63 - bits):
        by_key = np.argsort(keys)
        return keys[by_key], by_key
    packed = (keys << bits) | np.arange(len(keys))
    packed.sort()
    return packed >> bits, packed & (2**bits - 1)


def _zeros(size: int) -> npt.NDArray[np.int32]:
    return np.zeros(size, np.int32)


def _extended(array: npt.NDArray[np.int32], more: int) -> npt.NDArray[np.int32]:
    return np.concatenate([array, _zeros(more)])


def _narrow(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same whole numbers in the smallest type that holds them."""
    largest = int(array.max()) if len(array) else 0
    narrowest = next(kind for kind in (np.uint8, np.uint16, np.uint32, np.uint64) if largest <= np.iinfo(kind).max)
    return array.astype(narrowest)


def _check_range(tokens: Integers, vocab_size: int) -> None:
    if len(tokens) and (tokens.min() < 0 or tokens.max() >= vocab_size):
        raise ValueError(f"token ids reach from 0 to {vocab_size - 1}, not from {tokens.min()} to {tokens.max()}")
