"""The mixture is a proper distribution, decodes what it scores, and trusts only what has earned it."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.models.language_model import LogProbabilities, Tokens
from trainer.models.mixture import Mixture, Weights, count, mix, weigh, without
from trainer.models.ngram import NGram
from trainer.models.recent import DEFAULT_RECALLS, Recall, faded_counts

VOCAB_SIZE = 8
END = 5
Line = list[int]

lines = st.tuples(st.integers(6, 7), st.lists(st.integers(0, 4), max_size=8)).map(lambda it: [it[0], *it[1], END])
chats = st.lists(lines, max_size=8)
shares = st.floats(0, 1)


class Fixed:
    """A language model that always expects the same."""

    def __init__(self, probabilities: Sequence[float]) -> None:
        self.log = np.log(np.array(probabilities, np.float32) / sum(probabilities))
        self.rows = 0

    @property
    def vocab_size(self) -> int:
        return len(self.log)

    def score(self, tokens: Tokens) -> LogProbabilities:
        return np.asarray(self.log[tokens], np.float32)

    def decoder(self, context: Sequence[int], batch: int) -> "Fixed":
        started = Fixed(np.exp(self.log).tolist())
        started.rows = batch
        return started

    def log_probabilities(self) -> LogProbabilities:
        return np.repeat(self.log[None], self.rows, axis=0)

    def push(self, tokens: Sequence[int]) -> None:
        assert len(tokens) == self.rows

    def keep(self, rows: Sequence[int]) -> None:
        self.rows = len(rows)


def stream(chat: list[Line]) -> Tokens:
    return np.array([token for line in chat for token in line], np.int64)


def fitted(chat: list[Line]) -> NGram:
    return NGram.fit(stream(chat), vocab_size=VOCAB_SIZE, order=4, line_end=END)


GPT = Fixed([5, 1, 1, 1, 1, 3, 1, 1])


@given(chats, chats, lines, shares)
@settings(max_examples=60, deadline=None)
def test_the_decoder_gives_what_the_score_gives(known: list[Line], said: list[Line], line: Line, share: float) -> None:
    ngram = fitted(known)
    caution = tuple(0.3 * (1 + familiarity) for familiarity in range(ngram.familiarities))
    model = Mixture(GPT, ngram, Weights((share,) * ngram.familiarities, caution=caution))
    text = stream([*said, line])
    scores = model.score(text)
    context = stream(said)
    decoder = model.decoder(context.tolist(), 3)
    decoder.keep([2, 0])
    for place in range(len(context), len(text)):
        log_probabilities = decoder.log_probabilities()
        assert np.exp(log_probabilities).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
        assert log_probabilities[1, text[place]] == pytest.approx(scores[place], abs=1e-4)
        decoder.push([int(text[place])] * 2)


@given(chats, st.lists(chats.filter(bool), max_size=4))
@settings(max_examples=40, deadline=None)
def test_conversations_are_scored_together_as_each_alone(known: list[Line], talks: list[list[Line]]) -> None:
    ngram = fitted(known)
    model = Mixture(GPT, ngram, Weights((0.3,) * ngram.familiarities))
    texts = [stream(talk) for talk in talks]
    for together, text in zip(model.score_documents(texts), texts, strict=True):
        np.testing.assert_allclose(together, model.score(text), atol=1e-5)


def test_what_was_just_said_is_likelier_and_fades() -> None:
    ngram = fitted([[6, 0, END], [6, 1, END], [6, 2, END]])
    model = Mixture(None, ngram, Weights(()))
    calm, again = model.score(stream([[6, 0, 1, END]])), model.score(stream([[6, 3, 4, END], [6, 3, 4, END]]))
    assert again[5] > again[1] + 0.5 and again[6] > again[2] + 0.5
    assert calm[1] == ngram.score(stream([[6, 0, 1, END]]))[1]
    long_ago = model.score(stream([[6, 3, 4, END], *[[6, 2, END]] * 2000, [6, 3, 4, END]]))
    assert long_ago[-2] < again[6]


@given(st.lists(chats.filter(bool), max_size=3))
@settings(max_examples=40, deadline=None)
def test_faded_counts_are_those_of_a_plain_loop(talks: list[list[Line]]) -> None:
    recalls = (Recall(2, 5.0, 1.0), Recall(3, 40.0, 1.0))
    found = faded_counts([stream(talk) for talk in talks], recalls, END, VOCAB_SIZE)
    column = 0
    for talk in talks:
        heard: list[tuple[int, tuple[int, ...]]] = []  # place, line up to here with its opener made anonymous
        place = 0
        for line in talk:
            for index, token in enumerate(line):
                history = (-1, *line[1:index])
                for number, recall in enumerate(recalls):
                    expected = [0.0, 0.0]
                    if index >= recall.order - 1:
                        context = history[len(history) - recall.order + 1 :]
                        for then, said in heard:
                            if len(said) >= recall.order and said[-recall.order : -1] == context:
                                faded = math.exp(-(place - then) / recall.decay_tokens)
                                expected[1] += faded
                                expected[0] += faded * (said[-1] == token)
                    assert found[number, :, column] == pytest.approx(expected, abs=1e-5)
                if index:
                    heard.append((place, (*history, token)))
                place, column = place + 1, column + 1


def spoken(count_: int, seed: int, period: int) -> list[Line]:
    random = np.random.default_rng(seed)
    firsts = random.integers(0, 5, count_)
    return [[6, *((first + step * period) % 5 for step in range(4)), END] for first in firsts.tolist()]


def test_a_useless_gpt_is_not_trusted_and_costs_next_to_nothing() -> None:
    ngram, held_out, later = fitted(spoken(300, 0, 1)), spoken(100, 1, 1), spoken(100, 2, 1)
    useless = Fixed([1, 1, 1, 1, 96, 1, 1, 1])
    weights = weigh(count(ngram, [stream(held_out)]), useless.score(stream(held_out)), ngram.familiarities)
    assert max(weights.trust) < 0.05
    alone = mix(weights, count(ngram, [stream(later)]), None).mean()
    assert Mixture(useless, ngram, weights).score(stream(later)).mean() > alone * 1.02


def test_recalls_that_mislead_are_not_believed() -> None:
    def noise(seed: int) -> list[Line]:
        draw = np.random.default_rng(seed)
        return [[6, *draw.integers(0, 5, 6).tolist(), END] for _ in range(400)]

    ngram = fitted(noise(0))
    weights = weigh(count(ngram, [stream(noise(1))]), None, ngram.familiarities)
    counted = count(ngram, [stream(noise(2))])
    believed = mix(Weights(()), counted, None).mean()
    assert believed < counted.ngram.mean() * 1.005, "the defaults mislead here"
    assert mix(weights, counted, None).mean() > counted.ngram.mean() * 1.001


def test_what_was_just_said_counts_for_less_where_the_counts_know_better() -> None:
    """Lines of 0 end as they always did; lines that nobody knows are said over and over."""

    def talk(seed: int) -> list[Line]:
        draw = np.random.default_rng(seed)
        return [
            [6, 0, *draw.choice([1, 2], 1).tolist(), END] if draw.random() < 0.7 else [6, 3, 4, END] for _ in range(600)
        ]

    ngram = fitted([[6, 0, draw, END] for draw in (1, 2) for _ in range(200)])
    counted = count(ngram, [stream(talk(1))])
    weights = weigh(counted, None, ngram.familiarities)
    known, strange = counted.familiarity.max(), counted.familiarity[counted.ngram.argmin()]
    assert weights.caution[known] > weights.caution[strange]
    later = count(ngram, [stream(talk(2))])
    assert mix(weights, later, None).mean() > mix(Weights((), weights.recalls), later, None).mean()


def test_a_gpt_that_knows_better_is_trusted() -> None:
    class Knows(Fixed):
        def score(self, tokens: Tokens) -> LogProbabilities:
            return np.full(len(tokens), math.log(0.9), np.float32)

    ngram, held_out = fitted([[6, 4, 4, END]]), spoken(100, 1, 1)
    counted = count(ngram, [stream(held_out)])
    weights = weigh(counted, Knows([1] * 8).score(stream(held_out)), ngram.familiarities)
    assert min(weights.trust[familiarity] for familiarity in np.unique(counted.familiarity)) > 0.5


def test_without_held_out_chat_the_mixture_is_nearly_the_counts() -> None:
    ngram = fitted([[6, 0, END]])
    nothing = np.zeros(0, np.float32)
    weights = weigh(count(ngram, []), nothing, ngram.familiarities)
    assert max(weights.trust) < 0.03
    assert weights.recalls == DEFAULT_RECALLS


@given(chats, chats)
@settings(max_examples=40, deadline=None)
def test_held_out_lines_are_out_of_the_counts_only_for_a_while(kept: list[Line], held_out: list[Line]) -> None:
    ngram = fitted(kept + held_out)
    text = stream([*kept, *held_out, [6, 0, 1, END]])
    before = ngram.score(text)
    with without(ngram, held_out) as smaller:
        np.testing.assert_array_equal(smaller.score(text), fitted(kept).score(text))
    np.testing.assert_array_equal(ngram.score(text), before)


def test_weights_survive_the_checkpoint_and_damage_is_refused() -> None:
    weights = Weights((0.0, 0.25, 1.0), (Recall(2, 100.0, 3.5),), (0.5, 1.0, 7.0))
    assert Weights.from_json(weights.to_json()) == weights
    older = {name: value for name, value in weights.to_json().items() if name != "caution"}
    assert Weights.from_json(older) == Weights(weights.trust, weights.recalls)
    for caution in ([1.0], [1.0, 1.0, 0.0], [1.0, 1.0, float("nan")]):
        with pytest.raises(ValueError, match="caution is a positive number"):
            Weights.from_json({**older, "caution": caution})
    with pytest.raises(ValueError, match="damaged"):
        Weights.from_json({"trust": [0.5]})
    with pytest.raises(ValueError, match="between 0 and 1"):
        Weights.from_json({"trust": [1.5], "recalls": []})


def test_parts_of_different_vocabularies_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Mixture(Fixed([1, 1]), fitted([]), Weights(()))
