"""Drawing tokens: each knob does what its name says, the seed repeats, finished rows leave, stops are heeded."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.models.language_model import LogProbabilities, Tokens
from trainer.sample import Choice, Continuation, continuations, draw

STOP = 4
CHANCES = np.array([0.5, 0.25, 0.125, 0.0625, 0.0625], dtype=np.float32)


class Dice:
    """A language model that never listens: the same chances after any context."""

    vocab_size = len(CHANCES)

    def __init__(self) -> None:
        self.batches: list[int] = []

    def score(self, tokens: Tokens) -> LogProbabilities:
        return np.asarray(np.log(CHANCES)[tokens], dtype=np.float32)

    def decoder(self, context: Sequence[int], batch: int) -> "Dice":
        self.batch = batch
        return self

    def log_probabilities(self) -> LogProbabilities:
        self.batches.append(self.batch)
        return np.tile(np.log(CHANCES), (self.batch, 1))

    def push(self, tokens: Sequence[int]) -> None:
        assert len(tokens) == self.batch

    def keep(self, rows: Sequence[int]) -> None:
        self.batch = len(rows)


def rolled(choice: Choice, times: int = 4000) -> Counter[int]:
    rows = np.tile(np.log(CHANCES), (times, 1))
    return Counter(draw(rows, choice, np.random.default_rng(1)).tolist())


def said(**changes: object) -> list[Continuation]:
    known: dict[str, object] = {
        "count": 5, "max_tokens": 12, "stop": {STOP}, "choice": Choice(1.0, 0, 1.0), "seed": 3,
    }  # fmt: skip
    return continuations(Dice(), [1, 2], **(known | changes))  # type: ignore[arg-type]


def test_plain_sampling_follows_the_chances() -> None:
    counts = rolled(Choice(temperature=1.0, top_p=1.0))
    assert [counts[token] / 4000 for token in range(5)] == pytest.approx(CHANCES.tolist(), abs=0.03)


def test_filters_sample_the_same_chances_when_they_let_everything_through() -> None:
    counts = rolled(Choice(temperature=1.0, top_k=5, top_p=1.0))
    assert [counts[token] / 4000 for token in range(5)] == pytest.approx(CHANCES.tolist(), abs=0.03)


@pytest.mark.parametrize(
    ("choice", "possible"),
    [
        (Choice(temperature=0), {0}),
        (Choice(temperature=1, top_k=1), {0}),
        (Choice(temperature=1, top_k=2, top_p=1.0), {0, 1}),
        (Choice(temperature=1, top_p=0.5), {0}),
        (Choice(temperature=1, top_p=0.6), {0, 1}),
        (Choice(temperature=1, top_p=1.0, min_p=0.3), {0, 1}),
        (Choice(temperature=1, top_p=0.95, min_p=0.2), {0, 1, 2}),
        (Choice(temperature=0.01, top_p=1.0), {0}),
    ],
)
def test_each_filter_leaves_the_likeliest(choice: Choice, possible: set[int]) -> None:
    assert set(rolled(choice)) == possible


def test_a_large_vocabulary_is_filtered_as_a_small_one() -> None:
    flat = np.full((1, 5000), np.log(1 / 5000), dtype=np.float32)
    random = np.random.default_rng(0)
    drawn = {int(draw(flat, Choice(1.0, 0, 0.99), random)[0]) for _ in range(300)}
    assert len(drawn) > 250


def test_the_same_seed_says_the_same_and_another_something_else() -> None:
    assert said() == said()
    assert said() != said(seed=4)


def test_a_continuation_ends_before_its_stop_token() -> None:
    lines = said(max_tokens=200)
    assert all(line.stopped and STOP not in line.tokens for line in lines)


def test_finished_continuations_leave_the_batch() -> None:
    dice = Dice()
    lines = continuations(dice, [], count=6, max_tokens=200, stop={STOP}, choice=Choice(1.0, 0, 1.0), seed=2)
    assert len(dice.batches) == max(len(line.tokens) for line in lines) + 1
    assert sum(dice.batches) == sum(len(line.tokens) + 1 for line in lines)


def test_forbidden_tokens_and_early_stops_are_never_drawn() -> None:
    for line in said(count=40, forbidden={0, 1}, min_tokens=2):
        assert not {0, 1} & set(line.tokens)
        assert len(line.tokens) >= 2


def test_a_repetition_penalty_makes_repeats_rarer() -> None:
    def repeats(penalty: float) -> int:
        lines = said(count=200, stop=(), max_tokens=2, choice=Choice(1.0, 0, 1.0, 0.0, penalty))
        return sum(line.tokens[0] == line.tokens[1] for line in lines)

    assert repeats(3.0) < repeats(1.0) / 2


def test_what_a_continuation_cost_is_told_in_the_models_own_nats() -> None:
    (line,) = said(count=1, stop=(), max_tokens=3, choice=Choice(temperature=0))
    assert line.nats_per_token == pytest.approx(np.log(2))


def test_top_p_reaches_far_down_a_large_flat_vocabulary() -> None:
    flat = np.full((2, 20_000), np.log(1 / 20_000), dtype=np.float32)
    flat[:, 7] = np.log(0.5)
    random = np.random.default_rng(0)
    drawn = {int(token) for _ in range(400) for token in draw(flat, Choice(1.0, 0, 0.999), random)}
    assert 7 in drawn
    assert len(drawn) > 200
    assert {int(token) for _ in range(50) for token in draw(flat, Choice(1.0, 0, 0.3), random)} == {7}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-30, 0, width=32, allow_subnormal=False), min_size=1, max_size=40),
    st.sampled_from([0, 1, 3, 7]), st.sampled_from([0.1, 0.5, 0.95, 1.0]), st.sampled_from([0.0, 0.05, 0.5]),
)  # fmt: skip
def test_only_what_every_filter_lets_pass_is_drawn(scores: list[float], top_k: int, top_p: float, min_p: float) -> None:
    """Against the filters spelled out: rank, cut after k, cut where the sum crosses p, leave out the unlikely."""
    log_probabilities = np.array([scores], np.float32)
    chances = np.exp(log_probabilities[0].astype(np.float64) - max(scores))
    ranked = np.sort(chances)[::-1][: top_k or None]
    passing = chances >= ranked[-1] * (1 - 1e-5)
    if top_p < 1:
        total = chances[passing].sum()
        # A sum within rounding of the line may be taken to be on either side of it.
        crossing = int((np.cumsum(np.sort(chances[passing])[::-1]) < total * (top_p + 1e-5)).sum())
        passing &= chances >= np.sort(chances[passing])[::-1][min(crossing, passing.sum() - 1)] * (1 - 1e-5)
    passing &= chances >= min_p * (1 - 1e-5)
    random = np.random.default_rng(0)
    drawn = {int(draw(log_probabilities, Choice(1.0, top_k, top_p, min_p), random)[0]) for _ in range(20)}
    assert drawn <= set(np.flatnonzero(passing).tolist())
