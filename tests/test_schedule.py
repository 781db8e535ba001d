"""When the trainer trains: soon and briefly at first, then by new messages, by the clock, or to forget somebody."""

from dataclasses import replace

from trainer.schedule import FIRST_MESSAGES, LEAST_VALIDATION, Situation, decide, missing, run_minutes
from trainer.settings import TrainerTable

TABLE = TrainerTable()
GROWN = Situation(50_000, 12_000, trained_messages=50_000, new_messages=0, minutes_since_run=30.0)


def test_an_empty_corpus_says_how_many_messages_are_missing() -> None:
    decision = decide(Situation(0, 0), TABLE)
    assert not decision.train
    assert decision.reason.startswith(f"{FIRST_MESSAGES} more messages")


def test_one_missing_message_is_singular() -> None:
    assert missing(FIRST_MESSAGES - 1, 10).startswith("1 more message to")
    assert missing(FIRST_MESSAGES, LEAST_VALIDATION - 1).startswith("1 more validation message ")


def test_the_first_run_starts_with_tens_of_messages_and_is_short() -> None:
    decision = decide(Situation(FIRST_MESSAGES, LEAST_VALIDATION), TABLE)
    assert decision.train
    assert decision.minutes < 1


def test_nothing_new_means_no_run_however_long_ago_the_last_was() -> None:
    assert not decide(replace(GROWN, minutes_since_run=10_000.0), TABLE).train


def test_enough_new_messages_start_a_run() -> None:
    assert decide(replace(GROWN, new_messages=1000), TABLE).train
    assert not decide(replace(GROWN, new_messages=999), TABLE).train


def test_the_clock_starts_a_run_when_anything_is_new() -> None:
    assert decide(replace(GROWN, new_messages=1, minutes_since_run=60.0), TABLE).train
    assert not decide(replace(GROWN, new_messages=1, minutes_since_run=59.0), TABLE).train


def test_a_young_corpus_is_looked_at_again_when_it_has_grown_by_half() -> None:
    young = Situation(150, 40, trained_messages=100, new_messages=50, minutes_since_run=2.0)
    assert decide(young, TABLE).train
    assert not decide(replace(young, minutes_since_run=0.5), TABLE).train


def test_somebody_forgotten_is_reason_enough() -> None:
    decision = decide(replace(GROWN, forgotten=True), TABLE)
    assert decision.train
    assert "forgotten" in decision.reason


def test_runs_grow_with_the_corpus_up_to_the_allowance() -> None:
    minutes = [run_minutes(messages, TABLE) for messages in (24, 1000, 5000, 10_000, 1_000_000)]
    assert minutes == sorted(minutes)
    assert minutes[-1] == TABLE.minutes
    assert run_minutes(24, replace_minutes(0.2)) == 0.2


def replace_minutes(minutes: float) -> TrainerTable:
    return TABLE.model_copy(update={"minutes": minutes})
