"""One checkpoint is one folder: weights and counts as safetensors, tokenizer and metrics as JSON, and what it has seen.

Written complete or not at all, and nothing in it can run code. Knows nothing of models: a part is named arrays and a
configuration. Loads no torch, so that finding the latest one is cheap.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from corpus.errors import CheckpointError
from trainer.metrics import Loss

Arrays = dict[str, npt.NDArray[Any]]

FORMAT_VERSION = 1
# A checkpoint may be a stranger's: what it says of its own size is not believed beyond these.
LARGEST_JSON_BYTES = 64 * 2**20
MOST_SEEN = 100_000_000
LATEST_FILE = "LATEST"
DESCRIPTION_FILE = "checkpoint.json"
TOKENIZER_FILE = "tokenizer.json"
SEEN_FILE = "seen.safetensors"
MARK_FILE = "forgotten.json"


@dataclass(frozen=True)
class Part:
    """One model of a checkpoint: `config` makes it, `arrays` fill it. `folder` is set on a part that is not read yet.

    A part kept as the folder of an earlier checkpoint of the same run is linked, not written again: the counts do not
    change while the network trains.
    """

    config: Mapping[str, Any]
    arrays: Arrays | None = None
    folder: Path | None = None


@dataclass(frozen=True)
class Checkpoint:
    """What is known of a checkpoint without reading its weights. `parts` are "gpt", "ngram", "mixture", …

    `seen` are the rows of chat.db learned from, sorted; `removals` the last entry of the corpus's change feed that
    was heeded, so that whoever was forgotten later can be looked up in `seen`.
    """

    run: str
    step: int
    created_ms: int
    tokenizer: Mapping[str, Any]
    parts: Mapping[str, Part]
    losses: Mapping[str, Loss]
    trained_messages: int
    removals: int
    seen: npt.NDArray[np.int64]
    settings: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def name(self) -> str:
        """`<run>/step-<step>`, as LATEST and the metrics name it."""
        return f"{self.run}/{step_folder(self.step)}"

    def part(self, name: str) -> tuple[Mapping[str, Any], Arrays]:
        """Configuration and arrays of one part, read now. Raises CheckpointError when absent or damaged."""
        part = self.parts.get(name)
        if part is None:
            raise CheckpointError(f"checkpoint {self.name} has no {name}; it has {', '.join(self.parts) or 'nothing'}")
        if part.arrays is not None:
            return part.config, part.arrays
        assert part.folder is not None
        return part.config, _read_arrays(part.folder / f"{name}.safetensors")

    def has_seen(self, rows: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Which of these rows it learned from."""
        wanted = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        places = np.minimum(np.searchsorted(self.seen, wanted), max(len(self.seen) - 1, 0))
        return np.asarray(self.seen[places] == wanted) if len(self.seen) else np.zeros(len(wanted), dtype=bool)


def step_folder(step: int) -> str:
    return f"step-{step:06d}"


def save(checkpoints: Path, checkpoint: Checkpoint) -> Path:
    """Write `checkpoints/<run>/step-<step>/` and return it. A reader finds it whole or not at all, power cut included.

    Does not move LATEST: `promote` does, after the caller has decided. Raises CheckpointError when the disk refuses.
    """
    run = checkpoints / checkpoint.run
    final = run / step_folder(checkpoint.step)
    partial = run / f".{final.name}.{os.getpid()}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, part in checkpoint.parts.items():
            target = partial / f"{name}.safetensors"
            if part.arrays is not None:
                _write_arrays(target, part.arrays)
            elif part.folder is not None:
                _link(part.folder / target.name, target)
        _write_arrays(partial / SEEN_FILE, {"ranges": _ranges(checkpoint.seen)})
        _write_json(partial / TOKENIZER_FILE, checkpoint.tokenizer)
        _write_json(
            partial / DESCRIPTION_FILE,
            {
                "version": FORMAT_VERSION,
                "run": checkpoint.run,
                "step": checkpoint.step,
                "created_ms": checkpoint.created_ms,
                "parts": {name: dict(part.config) for name, part in checkpoint.parts.items()},
                "losses": {name: dataclasses.asdict(loss) for name, loss in checkpoint.losses.items()},
                "trained_messages": checkpoint.trained_messages,
                "removals": checkpoint.removals,
                "settings": dict(checkpoint.settings),
            },
        )
        _sync(partial)
        if final.exists():
            raise CheckpointError(f"{final} exists already; a run never writes the same step twice")
        partial.replace(final)
        _sync(run)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(
            f"{final} cannot be written ({error.strerror}); is the disk full or read-only?"
        ) from error
    return final


def promote(checkpoints: Path, folder: Path) -> None:
    """Let LATEST name `folder`: the last thing that happens to a new checkpoint. Replaced, never rewritten in place."""
    partial = checkpoints / f".{LATEST_FILE}.{os.getpid()}"
    name = folder.relative_to(checkpoints).as_posix()
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(name + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(checkpoints / LATEST_FILE)
        _sync(checkpoints)
    except OSError as error:
        raise CheckpointError(f"{checkpoints / LATEST_FILE} cannot be written ({error.strerror})") from error


def latest(checkpoints: Path) -> Path | None:
    """The checkpoint the bot serves; None before the first promotion. Raises CheckpointError for a dangling LATEST."""
    try:
        name = (checkpoints / LATEST_FILE).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{checkpoints / LATEST_FILE} cannot be read ({error})") from error
    folder = checkpoints / name
    inside = not Path(name).is_absolute() and ".." not in Path(name).parts
    if not name or not inside or not (folder / DESCRIPTION_FILE).is_file():
        raise CheckpointError(
            f"{checkpoints / LATEST_FILE} names {name or 'nothing'!r}, which is no checkpoint; "
            "write the name of one into it, or delete it to start anew"
        )
    return folder


def load(folder: Path) -> Checkpoint:
    """Read everything but the weights, which `Checkpoint.part` reads when asked.

    Raises CheckpointError for a folder that is absent, incomplete, damaged, or written by a newer Backchat.
    """
    described = _read_json(folder / DESCRIPTION_FILE)
    try:
        version = int(described["version"])
        if version > FORMAT_VERSION:
            raise CheckpointError(
                f"{folder} has format {version}, this Backchat reads up to {FORMAT_VERSION}; update Backchat"
            )
        checkpoint = Checkpoint(
            run=str(described["run"]),
            step=int(described["step"]),
            created_ms=int(described["created_ms"]),
            tokenizer=_read_json(folder / TOKENIZER_FILE),
            parts={_plain(name): Part(config=config, folder=folder) for name, config in described["parts"].items()},
            losses={name: Loss(**loss) for name, loss in described["losses"].items()},
            trained_messages=int(described["trained_messages"]),
            removals=int(described["removals"]),
            seen=_unranges(_read_arrays(folder / SEEN_FILE)["ranges"]),
            settings=described["settings"],
            folder=folder,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{folder / DESCRIPTION_FILE} is damaged ({error!r}); promote another one") from error
    missing = [name for name in checkpoint.parts if not (folder / f"{name}.safetensors").is_file()]
    if missing:
        raise CheckpointError(f"{folder} lacks {missing[0]}.safetensors; promote another checkpoint")
    return checkpoint


def all_checkpoints(checkpoints: Path) -> list[Path]:
    """Every complete checkpoint, oldest run first, then by step."""
    return sorted(file.parent for file in checkpoints.glob(f"*/step-*/{DESCRIPTION_FILE}"))


def prune(run: Path, keep: set[Path]) -> None:
    """Delete the checkpoints of one run but those in `keep`. A reader that has one open keeps its files."""
    for folder in run.glob("step-*"):
        if folder not in keep:
            dying = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
            folder.replace(dying)
            shutil.rmtree(dying, ignore_errors=True)


def prune_runs(checkpoints: Path, keep_runs: int) -> None:
    """Delete the checkpoints of all but the newest runs and of the serving one. Their metrics stay."""
    serving = latest(checkpoints)
    runs = sorted({folder.parent for folder in all_checkpoints(checkpoints)})
    for run in runs[:-keep_runs]:
        prune(run, {serving} if serving is not None else set())


def sweep(checkpoints: Path) -> None:
    """Remove what a killed trainer left half-written. Only the one trainer of these checkpoints calls it."""
    for partial in checkpoints.glob("*/.step-*.partial"):
        shutil.rmtree(partial, ignore_errors=True)
    for partial in checkpoints.glob(f".{LATEST_FILE}.*"):
        partial.unlink(missing_ok=True)


def mark_forgotten(folder: Path, rows: int) -> None:
    """Note that `rows` messages this checkpoint learned from were since removed. The bot suppresses their words."""
    partial = folder / f".{MARK_FILE}.{os.getpid()}"
    _write_json(partial, {"messages": rows})
    partial.replace(folder / MARK_FILE)


def forgotten(folder: Path) -> int:
    """How many messages of this checkpoint were removed since; 0 when it is clean."""
    return int(_read_json(folder / MARK_FILE).get("messages", 0)) if (folder / MARK_FILE).is_file() else 0


def _ranges(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Sorted distinct rows as half-open ranges, shape (ranges, 2): a million rows in a few kilobytes."""
    rows = np.unique(np.asarray(rows, dtype=np.int64))
    edges = np.flatnonzero(np.diff(rows) != 1) + 1
    starts = np.concatenate([rows[:1], rows[edges]])
    ends = np.concatenate([rows[edges - 1], rows[-1:]]) + 1
    return np.stack([starts, ends], axis=1)


def _unranges(ranges: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if ranges.size and (ranges.dtype != np.int64 or ranges.ndim != 2 or ranges.shape[1] != 2):
        raise ValueError(f"what it has seen is {ranges.dtype} of shape {ranges.shape}")
    sizes = np.diff(ranges.astype(np.float64))
    if (sizes < 0).any() or sizes.sum() > MOST_SEEN:
        raise ValueError("it claims to have seen more than there can be")
    return np.concatenate([np.zeros(0, dtype=np.int64), *(np.arange(start, end) for start, end in ranges)])


def _plain(name: str) -> str:
    """A part's name, which becomes a file's: a word and nothing that leads elsewhere."""
    if not name.isidentifier():
        raise ValueError(f"{name!r} is no name of a part")
    return name


def _write_arrays(path: Path, arrays: Arrays) -> None:
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    _sync(path)


def _read_arrays(path: Path) -> Arrays:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); promote another checkpoint") from error


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_JSON_BYTES:
            raise CheckpointError(f"{path} is far too large to be what it says it is; promote another checkpoint")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent} is no checkpoint: it has no {path.name}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); promote another checkpoint") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is damaged; promote another checkpoint")
    return content


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
        _sync(target)


def _sync(path: Path) -> None:
    """Flush a file, or the names in a folder where the system can (Windows cannot, and orders renames itself)."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
