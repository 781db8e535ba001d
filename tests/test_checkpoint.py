"""A checkpoint is whole or absent, comes back as it was, and LATEST never names half a one."""

import json
from pathlib import Path

import numpy as np
import pytest

from corpus.errors import CheckpointError
from trainer.checkpoint import (
    LARGEST_JSON_BYTES,
    Checkpoint,
    Part,
    all_checkpoints,
    forgotten,
    latest,
    load,
    mark_forgotten,
    promote,
    prune,
    save,
    sweep,
)
from trainer.metrics import Loss


def a_checkpoint(step: int = 10, **changes: object) -> Checkpoint:
    known: dict[str, object] = {
        "run": "run-1",
        "step": step,
        "created_ms": 1_700_000_000_000,
        "tokenizer": {"kind": "char"},
        "parts": {"gpt": Part({"n_layer": 2}, {"weight": np.arange(6, dtype=np.float32).reshape(2, 3)})},
        "losses": {"gpt": Loss(2.5, 1.9, None)},
        "trained_messages": 120,
        "removals": 3,
        "seen": np.array([1, 2, 3, 7, 9, 10]),
    }
    return Checkpoint(**(known | changes))  # type: ignore[arg-type]


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = save(tmp_path, a_checkpoint())
    again = load(folder)
    config, arrays = again.part("gpt")
    assert config == {"n_layer": 2}
    assert arrays["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert again.losses == {"gpt": Loss(2.5, 1.9, None)}
    assert again.seen.tolist() == [1, 2, 3, 7, 9, 10]
    assert again.name == "run-1/step-000010"


def test_it_knows_which_messages_it_has_seen(tmp_path: Path) -> None:
    again = load(save(tmp_path, a_checkpoint()))
    assert again.has_seen([0, 1, 4, 7, 10, 11]).tolist() == [False, True, False, True, True, False]
    nothing = load(save(tmp_path, a_checkpoint(step=11, seen=np.array([], dtype=np.int64))))
    assert nothing.has_seen([1]).tolist() == [False]


def test_latest_is_none_until_something_is_promoted(tmp_path: Path) -> None:
    folder = save(tmp_path, a_checkpoint())
    assert latest(tmp_path) is None
    promote(tmp_path, folder)
    assert latest(tmp_path) == folder


def test_a_latest_that_names_nothing_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "LATEST").write_text("run-9/step-000001\n")
    with pytest.raises(CheckpointError, match="delete it to start anew"):
        latest(tmp_path)


def test_counts_are_linked_from_the_checkpoint_before(tmp_path: Path) -> None:
    counts = Part({"order": 5}, {"counts": np.arange(4)})
    first = save(tmp_path, a_checkpoint(parts={"ngram": counts}))
    second = save(tmp_path, a_checkpoint(step=20, parts={"ngram": Part({"order": 5}, folder=first)}))
    prune(tmp_path / "run-1", {second})
    assert not first.exists()
    assert load(second).part("ngram")[1]["counts"].tolist() == [0, 1, 2, 3]


def test_a_killed_trainer_leaves_nothing_that_looks_like_a_checkpoint(tmp_path: Path) -> None:
    folder = save(tmp_path, a_checkpoint())
    half = folder.with_name(".step-000020.99.partial")
    half.mkdir()
    (half / "checkpoint.json").write_text("{}")
    assert all_checkpoints(tmp_path) == [folder]
    sweep(tmp_path)
    assert not half.exists()


@pytest.mark.parametrize("victim", ["checkpoint.json", "tokenizer.json", "gpt.safetensors", "seen.safetensors"])
@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_damaged_checkpoint_is_refused_in_one_sentence(tmp_path: Path, victim: str, damage: str) -> None:
    folder = save(tmp_path, a_checkpoint())
    if damage == "gone":
        (folder / victim).unlink()
    else:
        (folder / victim).write_bytes((folder / victim).read_bytes()[:5])
    with pytest.raises(CheckpointError) as caught:
        load(folder).part("gpt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["/etc", "../elsewhere/run-1/step-000010", "{outside}"])
def test_latest_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    outside = save(tmp_path / "elsewhere", a_checkpoint())
    inside = tmp_path / "checkpoints"
    inside.mkdir()
    (inside / "LATEST").write_text(name.format(outside=outside) + "\n")
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        latest(inside)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("checkpoint.json", '{"version": 1, "parts": {"../../gpt": {}}}'),
        ("checkpoint.json", '{"version": 1e999}'),
        ("checkpoint.json", "[" * 200_000),
        ("tokenizer.json", '{"a":' * 200_000),
        ("tokenizer.json", "[1, 2]"),
    ],
)
def test_a_strangers_description_does_no_harm(tmp_path: Path, file: str, content: str) -> None:
    folder = save(tmp_path, a_checkpoint())
    (folder / file).write_text(content)
    with pytest.raises(CheckpointError):
        load(folder)


def test_a_part_can_name_no_file_elsewhere(tmp_path: Path) -> None:
    folder = save(tmp_path, a_checkpoint())
    described = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps(described | {"parts": {"../../other/gpt": {}}}))
    with pytest.raises(CheckpointError, match="is no name of a part"):
        load(folder)


@pytest.mark.parametrize(
    "ranges",
    [
        np.array([[0, 2**62]]),
        np.array([[0, 2**40]] * 3),
        np.array([[0.0, 4.0]]),
        np.array([1, 2, 3]),
        np.array([[-(2**63), 2**63 - 1]]),
    ],
)
def test_what_a_stranger_claims_to_have_seen_is_not_counted_out(tmp_path: Path, ranges: np.ndarray) -> None:
    from safetensors.numpy import save_file

    folder = save(tmp_path, a_checkpoint())
    save_file({"ranges": ranges}, folder / "seen.safetensors")
    with pytest.raises(CheckpointError, match="is damaged"):
        load(folder)


def test_a_description_larger_than_any_is_not_read(tmp_path: Path) -> None:
    folder = save(tmp_path, a_checkpoint())
    with (folder / "tokenizer.json").open("wb") as file:
        file.truncate(LARGEST_JSON_BYTES + 1)
    with pytest.raises(CheckpointError, match="far too large"):
        load(folder)


def test_a_checkpoint_of_a_newer_backchat_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path, a_checkpoint())
    described = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps(described | {"version": 99}))
    with pytest.raises(CheckpointError, match="update Backchat"):
        load(folder)


def test_the_same_step_is_never_written_twice(tmp_path: Path) -> None:
    save(tmp_path, a_checkpoint())
    with pytest.raises(CheckpointError, match="exists already"):
        save(tmp_path, a_checkpoint())


def test_a_checkpoint_is_marked_when_somebody_in_it_is_forgotten(tmp_path: Path) -> None:
    folder = save(tmp_path, a_checkpoint())
    assert forgotten(folder) == 0
    mark_forgotten(folder, 4)
    assert forgotten(folder) == 4
    assert load(folder).trained_messages == 120
