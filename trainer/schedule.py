"""Is it time to train, and for how long? Pure: what there is and what the clock says go in, a decision comes out."""

from dataclasses import dataclass

from trainer.settings import TrainerTable

FIRST_MESSAGES = 24  # training messages a first run wants; below, there is nothing to show
LEAST_VALIDATION = 4  # messages a loss can be told from


@dataclass(frozen=True)
class Situation:
    """What the trainer knows. Times in minutes; `trained_messages` were in the last run, 0 before any."""

    train_messages: int
    validation_messages: int
    trained_messages: int = 0
    new_messages: int = 0
    minutes_since_run: float | None = None
    forgotten: bool = False


@dataclass(frozen=True)
class Decision:
    """Train now for `minutes`, or wait; `reason` is one sentence without a full stop, for status and log."""

    train: bool
    reason: str
    minutes: float = 0.0


def decide(now: Situation, table: TrainerTable) -> Decision:
    """Young corpora are trained on briefly and often, so that an empty install learns to speak while one watches."""
    if lacking := missing(now.train_messages, now.validation_messages):
        return Decision(False, lacking)
    minutes = run_minutes(now.train_messages, table)
    if now.minutes_since_run is None:
        return Decision(True, "the first run", minutes)
    if now.forgotten:
        return Decision(True, "somebody was forgotten, so a clean model is due", minutes)
    if now.new_messages >= table.every_messages:
        return Decision(True, f"{now.new_messages:,} new messages", minutes)
    if now.new_messages and now.minutes_since_run >= table.every_minutes:
        return Decision(True, f"{now.minutes_since_run:.0f} minutes since the last run", minutes)
    # A corpus that has grown by half is worth another look, long before a thousand messages are together.
    if now.new_messages >= max(50, now.trained_messages // 2) and now.minutes_since_run >= 2 * minutes:
        return Decision(True, f"{now.new_messages:,} new messages on top of {now.trained_messages:,}", minutes)
    wanted = table.every_messages - now.new_messages
    return Decision(False, f"{wanted:,} more messages, or {table.every_minutes:g} minutes after the last run")


def missing(train_messages: int, validation_messages: int) -> str:
    """What is still lacking before anything can be trained, as a sentence; empty when nothing is."""
    lacking = max(0, FIRST_MESSAGES - train_messages)
    if lacking:
        return f"{lacking} more message{'s' if lacking != 1 else ''} to learn from are needed before the first run"
    lacking = max(0, LEAST_VALIDATION - validation_messages)
    if lacking:
        return (
            f"{lacking} more validation message{'s' if lacking != 1 else ''} are needed before the first run "
            "(a fifth of the time goes to validation, so just let chat go on)"
        )
    return ""


def run_minutes(train_messages: int, table: TrainerTable) -> float:
    """Half a minute for tens of messages, the whole allowance from ten thousand on."""
    return min(table.minutes, 0.5 + train_messages / 10_000 * table.minutes)
