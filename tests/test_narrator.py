"""The narrator tells real figures, at its pace, the most important first, in words the streamer can replace."""

import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bot.narrator import Narrator
from bot.narrator_lines import IMPORTANCE, LINES, MOMENTS, PLACEHOLDERS, placeholders
from bot.settings import NarratorTable

Event = dict[str, Any]


def narrator(**knobs: object) -> Narrator:
    return Narrator(NarratorTable.model_validate(knobs), "backchat", randomness=random.Random(3), started_ms=0)


def started(at_ms: int = 0, run: str = "r1") -> Event:
    return {
        "event": "run_started", "run": run, "time_ms": at_ms, "device": "cpu", "parameters": 1_200_000,
        "vocab_size": 512, "train_messages": 80, "validation_messages": 20, "train_tokens": 900,
        "planned_steps": 1000, "plan": "",
    }  # fmt: skip


def evaluated(step: int, nats: float, at_ms: int = 0, sample: str = "so true") -> Event:
    loss = {"nats_per_token": nats, "bits_per_character": nats / 2, "unseen_bits_per_character": None}
    return {
        "event": "evaluation", "step": step, "time_ms": at_ms, "seconds": 0.1, "losses": {"gpt": loss},
        "sample": sample, "best": True,
    }  # fmt: skip


def promotion(promoted: bool = True, reason: str = "it lost by 0.1 bits") -> Event:
    return {"event": "promotion", "time_ms": 0, "checkpoint": "r1/step-1", "promoted": promoted, "reason": reason}


def finished(step: int = 1000, seconds: float = 90.0) -> Event:
    return {"event": "run_finished", "step": step, "time_ms": 0, "seconds": seconds, "reason": "planned", "best": {}}


def moments(told: Narrator, until_ms: int, start_ms: int = 0) -> list[tuple[int, str]]:
    said = []
    for at_ms in range(start_ms, until_ms, 250):
        narration = told.next(at_ms)
        if narration:
            said.append((at_ms, narration.moment))
    return said


def test_a_run_is_told_from_its_start_with_its_untrained_sample() -> None:
    told = narrator()
    told.on_event(started(), 0)
    first = told.next(0)
    told.on_event(evaluated(0, 6.24, sample="qz\n flrp  "), 100)
    second = told.next(20_000)
    assert first and first.moment == "run_started" and "80 messages" in first.texts[0]
    assert second and second.moment == "untrained"
    assert any("6.24" in text or "513" in text for text in second.texts)


def test_a_run_that_has_ended_is_not_announced_any_more() -> None:
    told = narrator()
    told.on_event(started(), 0)
    told.on_event(evaluated(0, 6.0), 0)
    told.on_event(evaluated(100, 3.0), 5_000)
    told.on_event(finished(), 6_000)
    assert [moment for _, moment in moments(told, 60_000)] == ["untrained", "run_finished"]


def test_a_promotion_that_had_to_wait_is_told_of_the_newest_checkpoint() -> None:
    told = narrator(lines={"promoted": ["{step} {loss}"]})
    told.on_event(started(), 0)
    told.on_event(evaluated(0, 6.0), 0)
    told.on_event(promotion(), 0)
    assert [narration.moment for narration in [told.next(0)] if narration] == ["untrained"]
    told.on_event(evaluated(20, 4.0), 3_000)
    told.on_event(promotion(), 3_000)
    waited = told.next(10_000)
    assert waited and waited.texts == ("20 4.00",)
    told.on_event(evaluated(40, 3.5), 20_000)
    told.on_event(promotion(), 20_000)
    assert "promoted" not in [moment for _, moment in moments(told, 90_000, 20_000)]


def test_figures_are_those_of_the_metrics() -> None:
    told = narrator(lines={"milestone": ["{first_loss}>{loss} {choices} {step}/{planned_steps} {percent}% {sample}"]})
    told.on_event(started(), 0)
    told.on_event(evaluated(0, 6.0), 0)
    told.on_event(evaluated(250, 3.0, sample="hello chat"), 0)
    assert [told.next(at_ms) for at_ms in (0, 10_000)][1] is not None
    milestone = told.next(40_000)
    assert milestone is None  # older than what anybody wants to read
    told.on_event(evaluated(500, 2.0, sample="hello chat"), 60_000)
    milestone = told.next(60_000)
    assert milestone and milestone.texts == ("6.00>2.00 7 500/1,000 50% hello chat",)


def test_of_what_gathers_only_the_most_important_is_told_and_with_the_newest_figures() -> None:
    told = narrator(every_s=30, lines={"new_best": ["{loss}"], "milestone": ["mark {loss}"]})
    told.on_event(started(), 0)
    assert told.next(0)
    told.on_event(evaluated(0, 5.4), 0)
    assert told.next(10_000)
    for step, nats in enumerate((5.3, 5.2, 4.9, 4.8, 4.7), start=1):
        told.on_event(evaluated(step, nats, sample=""), 12_000 + step)
    assert moments(told, 90_000, 12_000) == [(40_000, "milestone")]


def test_a_promotion_is_told_once_a_run_and_a_rejection_with_its_reason() -> None:
    told = narrator(every_s=0)
    told.on_event(started(), 0)
    told.on_event(evaluated(0, 5.4), 0)
    told.on_event(promotion(), 0)
    told.on_event(promotion(), 0)
    assert [moment for _, moment in moments(told, 60_000)].count("promoted") == 1
    told.on_event(promotion(promoted=False), 60_000)
    rejected = told.next(60_000)
    assert rejected and "it lost by 0.1 bits" in rejected.texts[0]


def test_rising_loss_is_admitted_once() -> None:
    told = narrator(every_s=0)
    told.on_event(started(), 0)
    told.on_event(evaluated(0, 5.0), 0)
    moments(told, 30_000)
    told.on_event(evaluated(1, 4.0), 30_000)
    moments(told, 40_000, 30_000)
    for step in range(2, 12):
        told.on_event(evaluated(step, 4.1), 40_000)
    assert [moment for _, moment in moments(told, 80_000, 40_000)] == ["getting_worse"]


def test_news_of_an_old_run_is_known_but_not_told() -> None:
    told = Narrator(NarratorTable(), "backchat", randomness=random.Random(1), started_ms=10_000_000)
    for event in (started(), evaluated(0, 5.0), evaluated(10, 4.0), finished()):
        told.on_event(event, 10_000_000)
    assert told.next(10_000_000) is None
    assert told.training is not None and told.training.best is not None and told.training.best.nats_per_token == 4.0


def test_disabled_it_keeps_quiet_and_still_knows_the_loss() -> None:
    told = narrator(enabled=False)
    told.on_event(started(), 0)
    told.on_event(evaluated(0, 5.0), 0)
    assert told.next(1_000) is None
    assert told.training is not None and told.training.curve[0].nats_per_token == 5.0


def test_a_ladder_is_told_rung_by_rung_and_counting_is_not_called_untrained() -> None:
    told = narrator(every_s=0)
    counted = {**started(), "planned_steps": 1, "rung": "2 of 14, Bigram, counted", "adds": "what follows what"}
    for event in (counted, evaluated(0, 2.45), finished(step=0)):
        told.on_event(event, 0)
    trained = {**started(), "rung": "6 of 14, MLP", "adds": "embeddings"}
    assert [moment for _, moment in moments(told, 60_000)] == ["rung_climbed", "rung_started"]
    for event in (trained, evaluated(0, 3.3), evaluated(900, 2.0), finished()):
        told.on_event(event, 60_000)
    narration = told.next(70_000)
    assert narration and narration.moment == "untrained", "a network's first evaluation really is"
    narration = told.next(80_000)
    assert narration and narration.moment == "rung_climbed" and "6 of 14, MLP" in narration.texts[0]


def test_behind_a_line_with_a_sample_come_lines_without_one() -> None:
    options = set()
    for seed in range(12):
        words = NarratorTable(every_s=0, lines={"untrained": ('"{sample}"', "{loss}")})
        told = Narrator(words, "backchat", randomness=random.Random(seed), started_ms=0)
        told.on_event(started(), 0)
        assert told.next(0)
        told.on_event(evaluated(0, 5.0, sample="something rude"), 0)
        narration = told.next(0)
        assert narration
        options.add(narration.texts)
    assert options == {('"something rude"', "5.00"), ("5.00",)}


def test_every_moment_has_several_short_lines_that_name_only_what_exists() -> None:
    assert set(LINES) == set(MOMENTS) == set(IMPORTANCE)
    for moment, lines in LINES.items():
        assert len(lines) >= 2, moment
        assert any("{sample}" not in line for line in lines), moment
        for line in lines:
            assert placeholders(line) <= PLACEHOLDERS, line
            assert len(line) <= 160, line


@pytest.mark.parametrize("line", ["loss {los}", "{loss:.2f}", "{0}", "{loss", "{run.x}"])
def test_a_template_that_cannot_be_filled_in_is_refused_when_settings_are_read(line: str) -> None:
    with pytest.raises(ValidationError):
        NarratorTable(lines={"milestone": (line,)})


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3_000), st.floats(0.5, 9.0)), max_size=120),
    st.sampled_from([0.0, 5.0, 25.0, 120.0]),
)
def test_it_never_speaks_faster_than_its_pace(news: list[tuple[int, float]], every_s: float) -> None:
    told = narrator(every_s=every_s)
    told.on_event(started(), 0)
    at_ms, said = 0, []
    for step, (gap_ms, nats) in enumerate(news):
        at_ms += gap_ms
        told.on_event(evaluated(step, nats, at_ms), at_ms)
        narration = told.next(at_ms)
        if narration:
            said.append((at_ms, IMPORTANCE[narration.moment]))
            assert narration.texts and all("{" not in text for text in narration.texts)
    for (earlier, _), (later, importance) in itertools.pairwise(said):
        assert later - earlier >= (min(7_000, every_s * 1000) if importance >= 3 else every_s * 1000)
