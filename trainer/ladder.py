"""Climbs the ladder: every rung in its turn, with its share of the time, its loss and its samples; resumable.

Each rung is told in metrics.jsonl as a training of its own, so that the narrator and the overlay follow it as they
follow any other. A finished rung is one JSON file; a ladder that was broken off goes on behind the last of them.
"""

import itertools
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from corpus.errors import TrainingError
from trainer.ladder_data import LadderData, Side
from trainer.machine import Machine
from trainer.metrics import Evaluated, Loss, MetricsLog, RunFinished, RunStarted
from trainer.models.gpt import GPT
from trainer.models.language_model import LanguageModel
from trainer.rungs import Outcome, Rung, Task, Update
from trainer.sample import Choice, continuations
from trainer.settings import ModelTable

PLAN_FILE = "ladder.json"
RUNGS_FOLDER = "rungs"
CURVE_TOKENS = 16_000  # of the validation side, read for every point of a curve
TRAIN_TOKENS = 250_000  # of the training side, read for a rung's training loss
SAMPLES = 5
LINE_TOKENS = 40
TEXT_TOKENS = 160


@dataclass(frozen=True)
class CurvePoint:
    """One evaluation on the way; `train` is the mean since the one before, None before the first step."""

    step: int
    seconds: float
    train: float | None
    validation: float


@dataclass(frozen=True)
class RungResult:
    """A rung that is climbed, as it is kept in `rungs/<name>.json`. Losses are of the whole sides, or of an excerpt of
    the training side where that is large."""

    name: str
    title: str
    adds: str
    parameters: int
    train: Loss
    validation: Loss
    test: Loss | None
    seconds: float
    steps: int
    samples: tuple[str, ...]
    note: str = ""
    curve: tuple[CurvePoint, ...] = ()
    pictures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Underway:
    """The rung in training, as far as it has come."""

    rung: Rung
    parameters: int
    share_done: float
    seconds: float
    loss: Loss
    train: float | None
    sample: str


Show = Callable[[list[RungResult], Underway | None], None]


@dataclass(frozen=True)
class LadderPlan:
    """What was asked for: the same plan on the same data goes on where it was broken off."""

    data: str
    level: str
    vocab_size: int
    train_tokens: int
    validation_tokens: int
    rungs: tuple[str, ...]
    minutes: float
    seed: int
    device: str
    full_size: bool
    first_steps: int = 0


def open_ladder(checkpoints: Path, plan: LadderPlan, now_ms: int, *, anew: bool = False) -> Path:
    """The folder of the newest ladder with this very plan that is not finished, else (or where `anew`) of a new one.

    Raises TrainingError when it cannot be written.
    """
    asked = json.loads(json.dumps(asdict(plan)))
    for folder in sorted(checkpoints.glob(f"*-ladder*/{PLAN_FILE}"), reverse=True):
        if not anew and _read_json(folder) == asked and len(finished_rungs(folder.parent)) < len(plan.rungs):
            return folder.parent
    started = datetime.fromtimestamp(now_ms / 1000, UTC)
    name = f"{started:%Y%m%d-%H%M%S}-ladder"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    folder = next(checkpoints / free for free in names if not (checkpoints / free).exists())
    try:
        (folder / RUNGS_FOLDER).mkdir(parents=True)
        _write_json(folder / PLAN_FILE, asked)
    except OSError as error:
        raise TrainingError(f"{folder} cannot be written ({error.strerror}); is the disk full or read-only?") from error
    return folder


def finished_rungs(folder: Path) -> list[RungResult]:
    """The rungs that a ladder has climbed, in their order."""
    plan = _read_json(folder / PLAN_FILE)
    files = [folder / RUNGS_FOLDER / f"{name}.json" for name in plan.get("rungs", ())]
    return [_result(_read_json(file)) for file in files if file.is_file()]


def climb(
    data: LadderData,
    rungs: Sequence[Rung],
    *,
    folder: Path,
    seconds: float,
    seed: int,
    machine: Machine,
    model: ModelTable,
    full_size: bool,
    first_steps: int = 0,
    now_ms: Callable[[], int],
    show: Show,
    clock: Callable[[], float] = time.monotonic,
) -> list[RungResult]:
    """Climb what is not climbed yet. Every rung may use its share of what is left of `seconds`, so that what a quick
    one saves goes to those after it."""
    # A rung whose model a missing one builds on is climbed again: models are not kept on disk.
    finished = finished_rungs(folder)
    missing = {rung.name for rung in rungs} - {result.name for result in finished}
    missing |= {rung.needs for rung in rungs if rung.name in missing}
    results = [result for result in finished if result.name not in missing]
    left = seconds - sum(result.seconds for result in results)
    waiting = [rung for rung in rungs if rung.name in missing]
    kept: dict[str, LanguageModel] = {}
    with MetricsLog(folder) as metrics:
        told = _Told(metrics, now_ms, show, clock)
        for number, rung in enumerate(waiting):
            shares = sum(later.share for later in waiting[number:]) or 1.0
            turn = max(left * rung.share / shares, 1.0)
            task = Task(data, machine, model, rung.steps, turn, seed, full_size, first_steps, kept)
            place = f"{len(results) + 1} of {len(rungs)}, {rung.title}"
            result = _climb_one(rung, task, told, results, run=f"{folder.name}: {rung.title}", place=place)
            _write_json(folder / RUNGS_FOLDER / f"{rung.name}.json", asdict(result))
            results.append(result)
            left -= result.seconds
            show(results, None)
    return results


@dataclass(frozen=True)
class _Told:
    """Who is told how a rung goes, and the clocks by which."""

    metrics: MetricsLog
    now_ms: Callable[[], int]
    show: Show
    clock: Callable[[], float]


def _climb_one(rung: Rung, task: Task, told: _Told, results: list[RungResult], *, run: str, place: str) -> RungResult:
    data, clock = task.data, told.clock
    torch.manual_seed(task.seed)
    began = clock()
    curve: list[CurvePoint] = []
    excerpt = data.validation.excerpt(CURVE_TOKENS)
    best = math.inf

    def evaluated(model: LanguageModel, side: Side, step: int) -> tuple[Loss, list[str]]:
        nonlocal best
        loss, samples = side.loss(model), draw_samples(model, data, 1 if side is excerpt else SAMPLES, task.seed)
        better = loss.nats_per_token < best
        best = min(best, loss.nats_per_token)
        sample = " ⏎ ".join(samples)
        told.metrics.write(Evaluated(step, told.now_ms(), clock() - began, {rung.title: loss}, sample, better))
        return loss, samples

    started = False
    for event in rung.climb(task):
        parameters = event.parameters if isinstance(event, Outcome) else parameters_of(event.model)
        if not started:
            started = True
            planned = event.planned_steps if isinstance(event, Update) else 1
            told.metrics.write(_started(rung, task, run, place, parameters, planned, told.now_ms()))
        if isinstance(event, Update):
            loss, samples = evaluated(event.model, excerpt, event.progress.step)
            train = None if math.isnan(event.progress.nats_per_token) else event.progress.nats_per_token
            curve.append(CurvePoint(event.progress.step, event.progress.seconds, train, loss.nats_per_token))
            done = event.progress.share_done
            told.show(results, Underway(rung, parameters, done, clock() - began, loss, train, " ⏎ ".join(samples)))
            continue
        loss, samples = evaluated(event.model, data.validation, event.steps)
        result = RungResult(
            name=rung.name,
            title=rung.title,
            adds=rung.adds,
            parameters=event.parameters,
            train=data.train.excerpt(TRAIN_TOKENS).loss(event.model),
            validation=loss,
            test=data.test.loss(event.model) if data.test else None,
            seconds=round(clock() - began, 2),
            steps=event.steps,
            samples=tuple(samples),
            note=event.note,
            curve=tuple(curve),
            pictures=event.pictures,
        )
        reason = f"rung {place}, is climbed"
        told.metrics.write(
            RunFinished(event.steps, told.now_ms(), result.seconds, reason, event.steps, {rung.title: loss})
        )
        return result
    raise TrainingError(f"the rung {rung.name} ended without a model; this is a fault of Backchat: please report it")


def _started(rung: Rung, task: Task, run: str, place: str, parameters: int, planned: int, time_ms: int) -> RunStarted:
    data = task.data
    return RunStarted(
        run=run,
        time_ms=time_ms,
        device=str(task.device),
        parameters=parameters,
        vocab_size=data.vocab_size,
        train_messages=data.train.messages,
        validation_messages=data.validation.messages,
        train_tokens=data.train.tokens,
        planned_steps=planned,
        plan=f"rung {place}: {rung.adds}",
        rung=place,
        adds=rung.adds,
    )


def parameters_of(model: LanguageModel) -> int:
    """How many numbers a model has that is still in training."""
    if isinstance(model, GPT):
        return model.parameters_count
    return int(getattr(model, "parameters", 0))


def draw_samples(model: LanguageModel, data: LadderData, count: int, seed: int) -> list[str]:
    """What the model says, unedited: whole lines, or a stretch of a text that has none."""
    drawn = continuations(
        model,
        data.opening,
        count=count,
        max_tokens=LINE_TOKENS if data.stop else TEXT_TOKENS,
        stop=data.stop,
        choice=Choice(),
        seed=seed,
        min_tokens=1,
    )
    return [data.speak(continuation.tokens) for continuation in drawn]


def _result(saved: Mapping[str, Any]) -> RungResult:
    """A rung's JSON file as it was written. Raises TrainingError for one of another making."""
    try:
        return RungResult(
            **{
                **saved,
                "train": Loss(**saved["train"]),
                "validation": Loss(**saved["validation"]),
                "test": Loss(**saved["test"]) if saved["test"] else None,
                "samples": tuple(saved["samples"]),
                "curve": tuple(CurvePoint(**point) for point in saved["curve"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise TrainingError(f"a finished rung cannot be read ({error}); delete its ladder's folder") from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{file} cannot be read ({error}); delete the folder it is in and begin anew") from error
    return read if isinstance(read, dict) else {}


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    with partial.open("w", encoding="utf-8") as stream:
        json.dump(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file)
