"""What commands and narration quote is what the run's diary says."""

from pathlib import Path

from bot.facts import CURVE_POINTS, Diary
from bot.run_watch import RunWatch
from trainer.metrics import Evaluated, Loss, MetricsLog, RunFinished, RunStarted, StepTaken


def run_started(run: str) -> RunStarted:
    return RunStarted(run, 0, "cpu", 1000, 64, 80, 20, 900, 500)


def evaluated(step: int, gpt: float, mixture: float | None = None) -> Evaluated:
    losses = {"gpt": Loss(gpt, gpt / 2)}
    if mixture is not None:
        losses |= {"mixture": Loss(mixture, mixture / 2), "ngram": Loss(9.0, 4.5)}
    return Evaluated(step, 0, 0.1, losses, f"sample {step}")


def test_a_run_is_followed_as_it_is_written_and_each_event_read_once(tmp_path: Path) -> None:
    watch, diary = RunWatch(tmp_path), Diary()
    assert watch.poll() == []
    with MetricsLog(tmp_path / "20260101-000000") as log:
        log.write(run_started("20260101-000000"))
        log.write(evaluated(0, 6.0))
        for event in watch.poll():
            diary.read(event)
        log.write(StepTaken(10, 0, 5.0, 1.0, 100.0))
        log.write(evaluated(20, 5.0, mixture=4.0))
        log.write(RunFinished(20, 0, 1.0, "planned"))
        events = watch.poll()
        assert [event["event"] for event in events] == ["step", "evaluation", "run_finished"]
        for event in events:
            diary.read(event)
    training = diary.training
    assert training is not None
    assert [point.nats_per_token for point in training.curve] == [6.0, 5.0]
    assert (training.best, training.mixture_bits, training.ngram_bits) == (training.curve[1], 2.0, 4.5)
    assert (training.step, training.running, training.sample) == (20, False, "sample 20")


def test_a_newer_run_takes_over_and_starts_a_new_curve(tmp_path: Path) -> None:
    watch, diary = RunWatch(tmp_path), Diary()
    for run, loss in (("20260101-000000", 3.0), ("20260102-000000", 7.0)):
        with MetricsLog(tmp_path / run) as log:
            log.write(run_started(run))
            log.write(evaluated(0, loss))
        for event in watch.poll():
            diary.read(event)
    assert diary.training is not None
    assert diary.training.run == "20260102-000000"
    assert [point.nats_per_token for point in diary.training.curve] == [7.0]
    assert watch.poll() == []


def test_a_long_run_keeps_a_bounded_curve_with_its_beginning_and_its_end() -> None:
    diary = Diary()
    diary.read({"event": "run_started", "run": "r", "planned_steps": 9, "train_messages": 1, "parameters": 1})
    for step in range(3 * CURVE_POINTS):
        loss = {"gpt": {"nats_per_token": 9.0 - step / 1000, "bits_per_character": 1.0}}
        diary.read({"event": "evaluation", "step": step, "losses": loss, "sample": ""})
    assert diary.training is not None
    curve = diary.training.curve
    assert len(curve) <= CURVE_POINTS
    assert curve[0].step == 0 and 3 * CURVE_POINTS - curve[-1].step <= 4
