"""Reads a run's folder, a ladder's or any other's, into the report that `trainer.report` makes a page of."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corpus.errors import TrainingError
from trainer.ladder import PLAN_FILE, RungResult, finished_rungs
from trainer.metrics import METRICS_FILE, read_events
from trainer.report import CurvePoint, Report, Row, page

REPORT_FILE = "report.html"
RANGE_FILE = "lr-find.html"
TOLD_SAMPLES = 8
TITLES: Mapping[str, str] = {"gpt": "GPT", "ngram": "n-gram", "mixture": "GPT and n-gram together"}
ADDS: Mapping[str, str] = {
    "gpt": "the slow memory: what lasts",
    "ngram": "the fast memory: what was said",
    "mixture": "the voice that chat hears",
}


def write_report(folder: Path, pictures: Mapping[str, Any] | None = None) -> Path:
    """Write `report.html` into a run's folder and return it. Raises TrainingError for a folder that is no run."""
    report = ladder_report(folder) if (folder / PLAN_FILE).is_file() else run_report(folder, pictures or {})
    return _write(folder / REPORT_FILE, report)


def write_range(checkpoints: Path, data: str, lead: str, picture: Mapping[str, Any]) -> Path:
    """Write the plot of a range test of the production model and return it."""
    report = Report(
        title="How fast may it learn?",
        lead=f"{data}. {lead}. Rates are told as multiples of the built-in ones.",
        rows=(),
        pictures={"range_test": picture},
    )
    checkpoints.mkdir(parents=True, exist_ok=True)
    return _write(checkpoints / RANGE_FILE, report)


def _write(file: Path, report: Report) -> Path:
    """Whole or not at all."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.write_text(page(report), encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        raise TrainingError(f"{file} cannot be written ({error.strerror}); is the disk full or read-only?") from error
    return file


def find_run(checkpoints: Path, name: str) -> Path:
    """The folder of a run by its name, by a path, or by "latest". Raises TrainingError when there is none."""
    runs = sorted(file.parent for file in checkpoints.glob(f"*/{METRICS_FILE}"))
    if name == "latest" and runs:
        return runs[-1]
    for folder in (checkpoints / name, Path(name)):
        if (folder / METRICS_FILE).is_file():
            return folder
    known = ", ".join(folder.name for folder in runs[-5:]) or "none yet"
    raise TrainingError(f"{name} is no run below {checkpoints}; the newest are: {known}")


def ladder_report(folder: Path) -> Report:
    """A ladder: a row a rung, and the pictures that the rungs drew."""
    results = finished_rungs(folder)
    plan = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
    pictures: dict[str, Any] = {}
    for result in results:
        pictures |= result.pictures  # a later rung's attention is the deeper one
    attending = [result.title for result in results if "attention" in result.pictures]
    if attending:
        pictures["attention"] = {**pictures["attention"], "of": f"From “{attending[-1]}”."}
    return Report(
        title="The ladder",
        lead=f"{plan['data']}: every rung from guessing to a GPT, on the same text, with the same measure.",
        rows=tuple(_rung_row(result) for result in results),
        figures=_ladder_figures(plan, results),
        pictures=pictures,
        footer=f"Run {folder.name}, seed {plan['seed']}, on {plan['device']}. Losses are in nats a token.",
    )


def _rung_row(result: RungResult) -> Row:
    return Row(
        title=result.title,
        adds=result.adds,
        validation=result.validation.nats_per_token,
        bits_per_character=result.validation.bits_per_character,
        unseen_bits_per_character=result.validation.unseen_bits_per_character,
        train=result.train.nats_per_token,
        test=result.test.nats_per_token if result.test else None,
        parameters=result.parameters,
        seconds=result.seconds,
        note=result.note,
        samples=result.samples,
        curve=tuple(CurvePoint(point.step, point.seconds, point.train, point.validation) for point in result.curve),
    )


def _ladder_figures(plan: Mapping[str, Any], results: Sequence[RungResult]) -> tuple[tuple[str, str], ...]:
    if not results:
        return ()
    best = min(results, key=lambda result: result.validation.nats_per_token)
    minutes = sum(result.seconds for result in results) / 60
    return (
        (f"{best.validation.nats_per_token:.3f}", f"nats a token: the best, {best.title}"),
        (f"{best.validation.bits_per_character:.3f}", "bits a character, of the same"),
        (f"{plan['train_tokens']:,}", f"tokens to learn from, by {plan['level']}"),
        (f"{plan['vocab_size']:,}", "kinds of token"),
        (f"{minutes:.1f} min", f"for {len(results)} rungs"),
    )


def run_report(folder: Path, pictures: Mapping[str, Any]) -> Report:
    """Any other run, from its diary: a row for each model that was evaluated, at its best."""
    events = [event for event, _ in read_events(folder / METRICS_FILE)]
    started = next((event for event in events if event["event"] == "run_started"), None)
    if started is None:
        raise TrainingError(f"{folder / METRICS_FILE} tells of no run; it may have been broken off before its start")
    evaluations = [event for event in events if event["event"] == "evaluation" and event.get("losses")]
    names = list(dict.fromkeys(name for event in evaluations for name in event["losses"]))
    training = _training_losses(events, started)
    rows = []
    for name in names:
        told = [(event, event["losses"][name]) for event in evaluations if name in event["losses"]]
        best_event, best = min(told, key=lambda pair: float(pair[1]["nats_per_token"]))
        curve = _curve(told, training if name == "gpt" else {}, started)
        constant = len({point.validation for point in curve}) == 1
        rows.append(
            Row(
                title=TITLES.get(name, name),
                adds=ADDS.get(name, ""),
                validation=float(best["nats_per_token"]),
                bits_per_character=float(best["bits_per_character"]),
                unseen_bits_per_character=best.get("unseen_bits_per_character"),
                parameters=int(started["parameters"]) if name == "gpt" else None,
                note="" if constant else f"at its best at step {int(best_event['step']):,}",
                curve=() if constant else curve,
            )
        )
    finished = next((event for event in reversed(events) if event["event"] == "run_finished"), None)
    return Report(
        title="How it learned to speak",
        lead=str(started.get("plan") or f"Run {folder.name}"),
        rows=tuple(sorted(rows, key=lambda row: -row.validation)),
        figures=_run_figures(started, evaluations, finished),
        pictures=pictures,
        samples=_told_samples(evaluations),
        footer=f"Run {folder.name} on {started['device']}. Losses are in nats a token.",
    )


def _training_losses(events: Sequence[Mapping[str, Any]], started: Mapping[str, Any]) -> dict[int, tuple[float, float]]:
    """By step: seconds since the start, and the training loss."""
    return {
        int(event["step"]): (
            (int(event["time_ms"]) - int(started["time_ms"])) / 1000,
            float(event["train_nats_per_token"]),
        )
        for event in events
        if event["event"] == "step"
    }


def _curve(
    told: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    training: Mapping[int, tuple[float, float]],
    started: Mapping[str, Any],
) -> tuple[CurvePoint, ...]:
    points = [
        CurvePoint(
            int(event["step"]),
            (int(event["time_ms"]) - int(started["time_ms"])) / 1000,
            None,
            float(loss["nats_per_token"]),
        )
        for event, loss in told
    ]
    points += [CurvePoint(step, seconds, loss, None) for step, (seconds, loss) in training.items()]
    return tuple(sorted(points, key=lambda point: point.seconds))


def _run_figures(
    started: Mapping[str, Any], evaluations: Sequence[Mapping[str, Any]], finished: Mapping[str, Any] | None
) -> tuple[tuple[str, str], ...]:
    figures = [
        (f"{int(started['train_messages']):,}", "messages to learn from"),
        (f"{int(started['parameters']):,}", "parameters"),
    ]
    if evaluations:
        losses = evaluations[-1]["losses"]
        best = min((float(loss["bits_per_character"]), name) for name, loss in losses.items())
        figures.insert(0, (f"{best[0]:.3f}", f"bits a character: {TITLES.get(best[1], best[1])}, at the end"))
    if finished is not None:
        figures.append((f"{float(finished['seconds']) / 60:.1f} min", str(finished["reason"])))
    return tuple(figures)


def _told_samples(evaluations: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """What it said on its way, from noise to speech: the evaluations spread evenly over the run."""
    speaking = [event for event in evaluations if event.get("sample")]
    wanted = min(TOLD_SAMPLES, len(speaking))
    places = sorted({round(number * (len(speaking) - 1) / max(wanted - 1, 1)) for number in range(wanted)})
    return tuple(
        (
            f"step {int(speaking[place]['step']):,}",
            f"{next(iter(speaking[place]['losses'].values()))['nats_per_token']:.3f}",
            tuple(str(speaking[place]["sample"]).splitlines()),
        )
        for place in places
    )
