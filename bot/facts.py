"""What is true of the model at this moment: who speaks, how its training goes. What commands and narration quote.

Built from `metrics.jsonl` and from the loaded voice; knows nothing of how they are read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

CURVE_POINTS = 400


@dataclass(frozen=True, slots=True)
class Speaking:
    """The voice that speaks now. `checkpoint` is None for the n-gram that speaks before there is one."""

    kind: str
    checkpoint: str | None = None
    step: int = 0
    parameters: int = 0
    vocab_size: int = 0
    tokenizer: str = ""
    trained_messages: int = 0


@dataclass(frozen=True, slots=True)
class Point:
    """The validation loss at one evaluation of the network itself."""

    step: int
    nats_per_token: float
    bits_per_character: float


@dataclass(frozen=True, slots=True)
class Training:
    """The newest run, as far as its diary goes."""

    run: str
    step: int = 0
    planned_steps: int = 0
    train_messages: int = 0
    parameters: int = 0
    running: bool = True
    curve: tuple[Point, ...] = ()
    best: Point | None = None
    mixture_bits: float | None = None
    ngram_bits: float | None = None
    sample: str = ""
    rung: str = ""
    adds: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    messages: int = 0
    speaking: Speaking | None = None
    training: Training | None = None


@dataclass(slots=True)
class Diary:
    """Folds a run's events into what is true after them."""

    training: Training | None = field(default=None)

    def read(self, event: Mapping[str, Any]) -> None:
        """Take in one event of metrics.jsonl; what is not understood is passed over."""
        if event["event"] == "run_started":
            self.training = Training(
                run=str(event["run"]),
                planned_steps=int(event["planned_steps"]),
                train_messages=int(event["train_messages"]),
                parameters=int(event["parameters"]),
                rung=str(event.get("rung") or ""),
                adds=str(event.get("adds") or ""),
            )
        elif self.training is None:
            return
        elif event["event"] == "step":
            self.training = replace(self.training, step=int(event["step"]))
        elif event["event"] == "evaluation":
            self.training = _evaluated(self.training, event)
        elif event["event"] == "run_finished":
            self.training = replace(self.training, step=int(event["step"]), running=False)


def network_point(event: Mapping[str, Any]) -> Point | None:
    """The network's own loss in an evaluation event: the `gpt` where there is one, else the first model named."""
    losses: Mapping[str, Mapping[str, Any]] = event.get("losses") or {}
    loss = losses.get("gpt") or next(iter(losses.values()), None)
    if not loss:
        return None
    return Point(int(event["step"]), float(loss["nats_per_token"]), float(loss["bits_per_character"]))


def _evaluated(training: Training, event: Mapping[str, Any]) -> Training:
    point = network_point(event)
    if point is None:
        return training
    losses: Mapping[str, Mapping[str, Any]] = event.get("losses") or {}

    def bits(name: str) -> float | None:
        return float(losses[name]["bits_per_character"]) if losses.get(name) else None

    curve = (*training.curve, point)
    if len(curve) > CURVE_POINTS:
        curve = curve[::2]
    better = training.best is None or point.nats_per_token < training.best.nats_per_token
    return replace(
        training,
        step=max(training.step, point.step),
        curve=curve,
        best=point if better else training.best,
        mixture_bits=bits("mixture"),
        ngram_bits=bits("ngram"),
        sample=str(event.get("sample") or training.sample),
    )
