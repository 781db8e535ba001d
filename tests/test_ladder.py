"""The ladder: the lectures' splits and vocabulary, every rung better than noise, told as it goes, and resumed."""

import io
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from corpus.cleaning import Rules
from corpus.errors import TrainingError
from corpus.settings import CleaningTable, CorpusTable
from trainer.ladder import LadderPlan, RungResult, Underway, climb, finished_rungs, open_ladder
from trainer.ladder_chat import chat_data, read_log
from trainer.ladder_data import LadderData, read_text, text_data
from trainer.ladder_table import ladder_table
from trainer.lr_find import find_share, range_test
from trainer.machine import Machine
from trainer.metrics import METRICS_FILE, Loss, read_events
from trainer.models.opened import OpenedLines
from trainer.optim import Rates
from trainer.pictures import label
from trainer.plan import Speed
from trainer.rung_training import Plan, document_batches, stream_batches
from trainer.rungs import RUNGS, Rung, Task, choose_rungs
from trainer.rungs.production import planned
from trainer.settings import ModelTable

SYLLABLES = ("ka", "ri", "mo", "len", "ta", "shi", "vor", "a", "el", "na")


def invented_names(count: int) -> str:
    drawn = random.Random(7)
    return "\n".join("".join(drawn.choices(SYLLABLES, k=drawn.randint(1, 3))) for _ in range(count)) + "\n"


def invented_text(lines: int) -> str:
    drawn = random.Random(8)
    return "\n".join(" ".join(drawn.choices(SYLLABLES, k=6)) for _ in range(lines)) + "\n"


def names(count: int = 600) -> LadderData:
    return text_data(invented_names(count), name="names", level="char", documents="lines", seed=1)


def plan(data: LadderData, rungs: tuple[Rung, ...]) -> LadderPlan:
    tokens = data.train.tokens, data.validation.tokens
    named = tuple(rung.name for rung in rungs)
    return LadderPlan(data.name, data.level, data.vocab_size, *tokens, named, 1.0, 1, "cpu", False)


def ascend(data: LadderData, rungs: tuple[Rung, ...], folder: Path, seconds: float = 6.0) -> list[RungResult]:
    shown: list[Underway | None] = []
    results = climb(
        data,
        rungs,
        folder=folder,
        seconds=seconds,
        seed=1,
        machine=Machine(torch.device("cpu"), False, Speed(2e10, 1)),
        model=ModelTable(n_layer=1, n_embd=32, block_size=32),
        full_size=False,
        now_ms=lambda: 1_700_000_000_000,
        show=lambda _, underway: shown.append(underway),
    )
    assert shown[-1] is None
    return results


def test_lines_are_split_80_10_10_and_each_ends_with_the_end_token() -> None:
    data = names()
    assert data.test is not None
    assert [len(side.documents) for side in (data.train, data.validation, data.test)] == [480, 60, 60]
    assert all(document[-1] == data.start_token for document in data.train.documents)
    letters = len(set("".join(SYLLABLES)))
    assert data.vocab_size == letters + 1, "the lectures' vocabulary: what occurs, and the end"


def test_a_whole_text_is_cut_in_its_order() -> None:
    text = invented_text(200)
    data = text_data(text, name="text", level="char", documents="whole", seed=1)
    assert data.vocabulary.decode(data.train.stream()) == text[: int(0.9 * len(text))]
    assert data.vocabulary.decode(data.validation.stream()) == text[int(0.9 * len(text)) :]
    assert data.test is None


def test_without_a_test_split_validation_chooses_nothing() -> None:
    data = text_data(invented_text(200), name="text", level="char", documents="whole", seed=1)
    fit, held_out = data.tuning()
    assert np.array_equal(np.concatenate([*fit, *held_out]), data.train.stream())


@pytest.mark.parametrize("level", ["word", "bpe"])
def test_other_levels_lose_nothing_of_a_text(level: str) -> None:
    text = invented_text(300)
    data = text_data(text, name="text", level=level, documents="whole", seed=1)  # type: ignore[arg-type]
    assert data.vocabulary.decode(np.concatenate([data.train.stream(), data.validation.stream()])) == text


def test_every_rung_is_climbed_told_and_beats_noise(tmp_path: Path) -> None:
    data = names()
    results = ascend(data, RUNGS, open_ladder(tmp_path, plan(data, RUNGS), 1_700_000_000_000))
    assert [result.name for result in results] == [rung.name for rung in RUNGS]
    assert results[0].validation.nats_per_token == pytest.approx(math.log(data.vocab_size))
    for result in results[1:]:
        assert result.validation.nats_per_token < results[0].validation.nats_per_token, result.name
        assert result.test is not None and result.samples
    by_name = {result.name: result for result in results}
    assert by_name["bigram"].pictures["followers"]["labels"]
    assert set(by_name["mlp"].pictures) == {"range_test", "embedding"}
    weights = np.array(by_name["layer-norm"].pictures["attention"]["weights"])
    assert weights.sum(1) == pytest.approx(1.0, abs=0.01)
    folder = next(tmp_path.iterdir())
    events = [event for event, _ in read_events(folder / METRICS_FILE)]
    assert [event["event"] for event in events].count("run_started") == len(RUNGS)
    assert sum(event["event"] == "evaluation" for event in events) > 3 * len(RUNGS)
    table = ladder_table("ladder", RUNGS, results, None)
    assert table.row_count == len(RUNGS)


@pytest.mark.parametrize("width", [80, 120])
def test_no_figure_of_the_table_is_cut(width: int) -> None:
    loss = Loss(2.3456, 3.4567)
    sample = "a sample that goes on and on and does not stop before the line ends \x1b[31m"
    result = RungResult("scaled-up", "Scaled up", "", 10_788_929, loss, loss, loss, 1234.5, 5000, (sample,))
    underway = Underway(choose_rungs("blocks")[0], 39_707, 1.0, 88.25, loss, 2.2222, sample)
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(ladder_table("a ladder", RUNGS, [result], underway, width=width))
    shown = console.export_text()
    for figure in ("10,788,929", "2.346", "3.457", "1234.5", "Blocks + residual 100 %", "2.222", "88.2"):
        assert figure in shown, shown
    assert "a sample that goes" in shown
    assert "\x1b" not in shown


def test_a_ladder_broken_off_goes_on_behind_its_last_finished_rung(tmp_path: Path) -> None:
    data, rungs = names(), choose_rungs("untrained,bigram,trigram")
    folder = open_ladder(tmp_path, plan(data, rungs), 1_700_000_000_000)

    def broken(number: int) -> Rung:
        def stop(task: object) -> "object":
            raise KeyboardInterrupt

        return Rung(rungs[number].name, "broken", "", 0, 1, stop)  # type: ignore[arg-type]

    with pytest.raises(KeyboardInterrupt):
        ascend(data, (rungs[0], rungs[1], broken(2)), folder)
    assert open_ladder(tmp_path, plan(data, rungs), 1_700_000_001_000) == folder
    before = (folder / "rungs" / "bigram.json").stat().st_mtime_ns
    assert [result.name for result in ascend(data, rungs, folder)] == ["untrained", "bigram", "trigram"]
    assert (folder / "rungs" / "bigram.json").stat().st_mtime_ns == before, "climbed once"
    assert open_ladder(tmp_path, plan(data, rungs), 1_700_000_002_000) != folder, "a finished one is not gone on with"


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(invented_names(600))
    command = [
        sys.executable,
        "-m",
        "bot.cli",
        "ladder",
        "--data",
        "names.txt",
        "--documents",
        "lines",
        "--rungs",
        "mlp",
    ]
    settings = {**os.environ, "BACKCHAT_TRAINER__DEVICE": "cpu", "BACKCHAT_PATHS__CHECKPOINTS": "checkpoints"}
    # A test run in the background of a shell would hand down that Ctrl-C is ignored.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, cwd=tmp_path, env=settings, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as climbing:
        events = tmp_path.glob(f"checkpoints/*-ladder/{METRICS_FILE}")
        while climbing.poll() is None and not any("evaluation" in file.read_text() for file in events):
            time.sleep(0.05)
            events = tmp_path.glob(f"checkpoints/*-ladder/{METRICS_FILE}")
        climbing.send_signal(signal.SIGINT)
        _, said = climbing.communicate(timeout=60)
    assert climbing.returncode == 130
    assert said == "Broken off. The same command goes on behind the last finished rung.\n"


def test_the_same_seed_climbs_to_the_same_loss(tmp_path: Path) -> None:
    data = names(200)
    rung = choose_rungs("neural-bigram")
    short = (Rung(rung[0].name, rung[0].title, rung[0].adds, 1, 60, rung[0].climb),)
    losses = []
    for number in range(2):
        folder = open_ladder(tmp_path, plan(data, short), 1_700_000_000_000 + number * 1000, anew=True)
        losses.append(ascend(data, short, folder, seconds=600)[0].validation)
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    "data", [names(), text_data(invented_text(300), name="t", level="bpe", documents="whole", seed=1)]
)
def test_the_neural_bigram_finds_the_counts_on_either_side(data: LadderData, tmp_path: Path) -> None:
    rungs = choose_rungs("bigram,neural-bigram")
    folder = open_ladder(tmp_path, plan(data, rungs), 1_700_000_000_000)
    counted, neural = ascend(data, rungs, folder, seconds=600)
    assert neural.train.nats_per_token == pytest.approx(counted.train.nats_per_token, abs=0.002)
    assert neural.validation.nats_per_token == pytest.approx(counted.validation.nats_per_token, abs=0.002)


def test_a_rung_that_would_not_fit_into_memory_is_left_out() -> None:
    (neural,) = choose_rungs("neural-bigram")
    data = names(200)
    assert neural.fits(data)
    assert not replace(neural, largest_vocabulary=data.vocab_size - 1).fits(data)
    assert not choose_rungs("mixture")[0].fits(data), "names are no stream of chat"


def test_a_finished_rung_reads_back_as_it_was_written(tmp_path: Path) -> None:
    data, rungs = names(200), choose_rungs("bigram")
    folder = open_ladder(tmp_path, plan(data, rungs), 1_700_000_000_000)
    (climbed,) = ascend(data, rungs, folder)
    (read,) = finished_rungs(folder)
    assert read == climbed


def invented_log(file: Path, messages: int) -> Path:
    """A chat log as JSON lines: six hours, five people, invented words."""
    drawn = random.Random(9)
    with file.open("w", encoding="utf-8") as log:
        for number in range(messages):
            text = " ".join(drawn.choices(SYLLABLES, k=drawn.randint(1, 5)))
            sent = datetime.fromtimestamp(1_700_000_000 + number * 21_600 // messages, UTC).isoformat()
            row = {"ts": sent, "channel": "ladder", "user": f"viewer{drawn.randint(1, 5)}", "text": text}
            log.write(json.dumps(row) + "\n")
    return file


def test_a_chat_log_climbs_to_the_mixture_and_is_not_kept(tmp_path: Path) -> None:
    chat = read_log(invented_log(tmp_path / "log.jsonl", 900), CorpusTable(), Rules())
    data = chat_data(chat, ModelTable(), CleaningTable(), name="log.jsonl")
    assert data.train.messages > 3 * data.validation.messages / 2, "80/20 by half-hours"
    rungs = choose_rungs("untrained,kneser-ney,gpt,mixture")
    results = ascend(data, rungs, open_ladder(tmp_path, plan(data, rungs), 1_700_000_000_000), seconds=3)
    losses = {result.name: result.validation.bits_per_character for result in results}
    assert losses["mixture"] < losses["untrained"]
    assert losses["mixture"] <= losses["gpt"], "two memories know more than one"
    assert all(result.validation.unseen_bits_per_character is not None for result in results)
    assert all("<s" not in sample for result in results for sample in result.samples), "slots are spoken as names"


def test_a_mixture_whose_gpt_is_gone_trains_it_again(tmp_path: Path) -> None:
    data = text_data(invented_text(300), name="text", level="char", documents="whole", seed=1)
    rungs = choose_rungs("gpt,mixture")
    folder = open_ladder(tmp_path, plan(data, rungs), 1_700_000_000_000)
    ascend(data, rungs, folder, seconds=1)
    (folder / "rungs" / "mixture.json").unlink()
    assert [result.name for result in ascend(data, rungs, folder, seconds=1)] == ["gpt", "mixture"]


def test_a_rung_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(TrainingError, match="did you mean trigram"):
        choose_rungs("bigram,trigam")


def test_a_file_that_is_no_text_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "noise.txt").write_bytes(b"\xff\xfe\xff" * 999)
    with pytest.raises(TrainingError, match="UTF-8"):
        read_text(tmp_path / "noise.txt")
    (tmp_path / "short.txt").write_text("hi")
    with pytest.raises(TrainingError, match="a thousand"):
        read_text(tmp_path / "short.txt")


def test_a_text_of_one_kind_of_character_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n" * 999)
    with pytest.raises(TrainingError, match="2 kinds of character"):
        read_text(tmp_path / "a.txt")


def test_ends_of_lines_have_a_mark_of_one_letter() -> None:
    assert [label(piece) for piece in ("<end>", "\n", " a\tb")] == ["⏎", "⏎", "␣a⇥b"]


def test_two_ladders_of_one_second_have_a_folder_each(tmp_path: Path) -> None:
    data, rungs = names(200), choose_rungs("untrained")
    folders = {open_ladder(tmp_path, plan(data, rungs), 1_700_000_000_000, anew=True) for _ in range(3)}
    assert len(folders) == 3
    assert sorted(folder.name for folder in folders)[0] == "20231114-221320-ladder"


def test_the_range_test_suggests_a_rate_below_the_edge() -> None:
    weight, noise = 10.0, random.Random(3)

    def step(rate: float) -> float:
        nonlocal weight
        loss = weight**2 + 1
        weight += rate * -2 * weight + noise.gauss(0, 0.2)
        return loss

    found = range_test(step, lowest=1e-4, highest=10.0, steps=100)
    assert found.rates[-1] < 10.0, "it stops once the loss has blown up"
    assert 1e-2 < found.suggestion < 1.0, "a parabola of curvature 2 diverges beyond a rate of 1"


def test_the_built_in_rates_of_the_production_model_are_near_what_its_range_test_suggests() -> None:
    data = text_data(invented_text(400), name="text", level="char", documents="whole", seed=1)
    table = ModelTable(n_layer=1, n_embd=32, block_size=32)
    task = Task(data, Machine(torch.device("cpu"), False, Speed(2e10, 1)), table, 60, 20.0, 1)
    model, planned_run = planned(task, data.train.tokens)
    found = find_share(model, data.train.stream(), Rates(), batch_size=planned_run.batch_size, steps=80, seed=1)
    assert found.losses[0] == pytest.approx(math.log(data.vocab_size), abs=0.5)
    assert 0.05 < found.suggestion < 20


def test_the_rate_warms_up_stays_and_decays() -> None:
    schedule = Plan(steps=100, batch_size=1, learning_rate=1.0, warm_up=0.1, decay_from=0.5)
    shares = [schedule.rate_share(step / 100) for step in range(101)]
    assert shares[0] < 0.1 and shares[10] == shares[49] == 1.0
    assert shares[50:] == sorted(shares[50:], reverse=True) and shares[-1] == pytest.approx(0.01)


def test_a_block_of_a_stream_is_predicted_from_the_token_before() -> None:
    cpu = torch.device("cpu")
    stream = np.arange(100)
    inputs, targets = stream_batches(stream, block_size=8, lead=2, batch_size=4, seed=1, device=cpu)()
    assert torch.equal(targets[:, 2:], inputs[:, 2:] + 1)
    assert (targets[:, :2] == -100).all(), "what lacks context is not counted"


def test_documents_never_reach_into_each_other() -> None:
    documents = [np.array([5, 6, 0]), np.array([7, 0])]
    batch = document_batches(documents, start_token=0, block_size=8, batch_size=2, seed=1, device=torch.device("cpu"))
    inputs, targets = batch()
    rows = {tuple(row) for row in torch.cat([inputs, targets], 1).tolist()}
    assert rows == {(0, 5, 6, 5, 6, 0), (0, 7, 0, 7, 0, -100)}


def test_a_line_without_a_speaker_keeps_its_first_token_as_context() -> None:
    lines = [np.array([1, 2, 0]), np.array([3, 4, 0])] * 20
    model = OpenedLines.fit(lines, vocab_size=5, order=3, line_end=0)
    decoder = model.decoder([], 2)
    chances = np.exp(decoder.log_probabilities()[0])
    assert chances.sum() == pytest.approx(1.0, abs=0.02)
    decoder.push([1, 3])
    after = decoder.log_probabilities().argmax(1).tolist()
    assert after == [2, 4]
    assert model.score(lines[0])[0] == pytest.approx(np.log(chances[1]), abs=1e-4)
