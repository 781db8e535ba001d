"""A run's diary: `metrics.jsonl`, one event a line, appended while it trains. The narrator and the pages follow it.

Knows nothing of torch, so that the bot can read a diary without loading it. Losses carry their unit in the name.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

METRICS_FILE = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class Loss:
    """One model on one set of messages, the three ways DESIGN.md reports it."""

    nats_per_token: float
    bits_per_character: float
    unseen_bits_per_character: float | None = None


@dataclass(frozen=True, slots=True)
class RunStarted:
    event: ClassVar[str] = "run_started"
    run: str
    time_ms: int
    device: str
    parameters: int
    vocab_size: int
    train_messages: int
    validation_messages: int
    train_tokens: int
    planned_steps: int
    plan: str = ""
    rung: str = ""  # "6 of 14, MLP": of a ladder, where each rung is told as a run
    adds: str = ""


@dataclass(frozen=True, slots=True)
class StepTaken:
    event: ClassVar[str] = "step"
    step: int
    time_ms: int
    train_nats_per_token: float
    learning_rate_share: float
    tokens_per_second: float
    seconds_left: float = 0.0


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The loss stopped being a number: the run went back to its last good state and goes on more slowly."""

    event: ClassVar[str] = "rollback"
    step: int
    time_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Validation at one step. `losses` by model: gpt, ngram, mixture, or a rung's name."""

    event: ClassVar[str] = "evaluation"
    step: int
    time_ms: int
    seconds: float
    losses: dict[str, Loss]
    sample: str
    best: bool = False


@dataclass(frozen=True, slots=True)
class CheckpointWritten:
    event: ClassVar[str] = "checkpoint"
    step: int
    time_ms: int
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Promoted:
    """LATEST now names `checkpoint`; or, where `promoted` is false, why it does not."""

    event: ClassVar[str] = "promotion"
    time_ms: int
    checkpoint: str
    promoted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    event: ClassVar[str] = "run_finished"
    step: int
    time_ms: int
    seconds: float
    reason: str
    best_step: int | None = None
    best: dict[str, Loss] = field(default_factory=dict)


Event = RunStarted | StepTaken | RolledBack | Evaluated | CheckpointWritten | Promoted | RunFinished


class MetricsLog:
    """Appends events to one run's metrics.jsonl. A reader sees whole lines or an unfinished last one."""

    def __init__(self, run_folder: Path) -> None:
        run_folder.mkdir(parents=True, exist_ok=True)
        self._file = (run_folder / METRICS_FILE).open("a", encoding="utf-8")

    def write(self, event: Event) -> None:
        self._file.write(json.dumps({"event": event.event} | asdict(event)) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_events(file: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Every complete event after byte `offset`, each with the offset behind it, for a reader that follows a run.

    An unfinished last line is left for the next call; a line that is not JSON is passed over. Missing file: nothing.
    """
    try:
        stream = file.open("rb")
    except FileNotFoundError:
        return
    with stream:
        stream.seek(offset)
        for line in stream:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and "event" in event:
                yield event, offset
