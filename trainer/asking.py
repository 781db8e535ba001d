"""Questions to a checkpoint: what does it say, how good is it on all messages, what would it say next.

Behind `backchat sample`, `backchat eval` and `backchat next`; knows nothing of how they are shown.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from corpus.cleaning import Rules
from corpus.errors import CheckpointError, CorpusError, TrainingError
from corpus.slots import SPEAKER_SLOTS, SpeakerWindow
from corpus.store import Corpus
from corpus.transcript import TranscriptLine, render, transcript
from trainer import checkpoint as on_disk
from trainer.checkpoint import Checkpoint
from trainer.dataset import encode_lines, normalised
from trainer.dataset import unseen as said_nowhere
from trainer.evaluate import evaluate
from trainer.memory import LineMemory
from trainer.metrics import Loss
from trainer.models.gpt import GPT
from trainer.models.language_model import LanguageModel
from trainer.models.mixture import Mixture, Weights
from trainer.sample import Choice, continuations
from trainer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Loaded:
    """A checkpoint with its models, "gpt", "ngram" and "mixture", as far as it has them."""

    checkpoint: Checkpoint
    tokenizer: Tokenizer
    models: dict[str, LanguageModel]

    def model(self, name: str | None) -> LanguageModel:
        """One of them, or the one that speaks. Raises CheckpointError."""
        if name is None:
            return list(self.models.values())[-1]
        if name not in self.models:
            raise CheckpointError(f"checkpoint {self.checkpoint.name} has no {name}; it has {', '.join(self.models)}")
        return self.models[name]


def find_checkpoint(named: str | None, checkpoints: Path) -> Path:
    """A folder, a name such as LATEST gives, a run (its last step), or None for the serving one."""
    if named is None:
        serving = on_disk.latest(checkpoints)
        if serving is None:
            raise CheckpointError(f"{checkpoints} has no checkpoint yet; run `backchat train` first")
        return serving
    for folder in (Path(named), checkpoints / named):
        if (folder / on_disk.DESCRIPTION_FILE).is_file():
            return folder
        steps = sorted(folder.glob(f"step-*/{on_disk.DESCRIPTION_FILE}"))
        if steps:
            return steps[-1].parent
    known = ", ".join(
        folder.relative_to(checkpoints).as_posix() for folder in on_disk.all_checkpoints(checkpoints)[-3:]
    )
    raise CheckpointError(f"{named} is no checkpoint; there are {known or 'none yet: run `backchat train`'}")


def load_models(folder: Path) -> Loaded:
    """Every model of a checkpoint, the one that speaks last. Raises CheckpointError."""
    checkpoint = on_disk.load(folder)
    tokenizer = Tokenizer.from_json(checkpoint.tokenizer)
    models: dict[str, LanguageModel] = {}
    try:
        if "ngram" in checkpoint.parts:
            models["ngram"] = memory = LineMemory.from_arrays(checkpoint.part("ngram")[1]).ngram
        if "gpt" in checkpoint.parts:
            models["gpt"] = gpt = GPT.from_arrays(*checkpoint.part("gpt"))
        if "mixture" in checkpoint.parts:
            models["mixture"] = Mixture(gpt, memory, Weights.from_json(checkpoint.parts["mixture"].config))
    except ValueError as error:
        raise CheckpointError(f"checkpoint {checkpoint.name} does not fit together ({error}); use another") from error
    if not models:
        raise CheckpointError(f"checkpoint {checkpoint.name} has no model in it; use another")
    return Loaded(checkpoint, tokenizer, models)


def say_lines(
    loaded: Loaded, model: str | None, prompt: str, count: int, choice: Choice, seed: int | None, longest: int = 60
) -> list[str]:
    """Lines out of nowhere, or that begin with `prompt`; speaker slots come out as plain words."""
    tokenizer = loaded.tokenizer
    beginning = tokenizer.encode(" ".join(prompt.split()))
    slots = [tokenizer.slot_token(slot) for slot in range(SPEAKER_SLOTS)]
    speaking = loaded.model(model)
    if isinstance(speaking, Mixture):  # as in the room: what forecasts best says the same thing over and over
        speaking = Mixture(speaking.gpt, speaking.ngram, speaking.weights.for_speaking())
    drawn = continuations(
        speaking, [tokenizer.end_token, slots[-1], *beginning], count=count, max_tokens=longest,
        stop=(tokenizer.end_token,), choice=choice, seed=seed, min_tokens=0 if beginning else 1,
    )  # fmt: skip
    window = SpeakerWindow()
    return [render(tokenizer.decode_parts([*beginning, *line.tokens]), window).strip() for line in drawn]


@dataclass(frozen=True)
class Report:
    """The losses of every model on these many lines, and how many of them occur nowhere in training."""

    losses: dict[str, Loss]
    lines: int
    unseen: int
    tokens: int


def evaluate_on_corpus(loaded: Loaded, corpus: Corpus, rules: Rules) -> Report:
    """On every validation message of the corpus. Raises CorpusError when there is none."""
    lines = [line for line in transcript(corpus.messages(), rules) if line.side == "validation"]
    rows = np.fromiter(corpus.unseen(), dtype=np.int64)
    return _report(loaded, lines, np.isin(np.array([line.row for line in lines], dtype=np.int64), rows))


def evaluate_on_file(loaded: Loaded, file: Path, corpus: Corpus | None, rules: Rules) -> Report:
    """On every message of a log file, both sides of it. Unseen are those the corpus's training side does not have.

    A message that the checkpoint was trained on is refused, where the corpus can tell: its loss would be a lie.
    """
    from corpus.importers.importing import import_file
    from corpus.importers.registry import importer_of
    from corpus.importers.source import Options, Source

    with tempfile.TemporaryDirectory() as folder, Corpus.open(Path(folder) / "chat.db") as beside:
        source = Source.of(file)
        import_file(beside, source, importer_of(source), Options())
        stored = list(beside.messages())
        lines = list(transcript(stored, rules))
    trained: set[str] = set()
    if corpus is not None:
        known = {each.message.id for each in corpus.messages(side="train")}
        if any(line.message_id in known for line in lines):
            raise TrainingError(f"{file} holds messages of the corpus's training side; evaluate on other chat")
        trained = {normalised(line) for line in transcript(corpus.messages(side="train"), rules)}
    return _report(loaded, lines, said_nowhere(lines, trained))


def _report(loaded: Loaded, lines: Sequence[TranscriptLine], unseen: npt.NDArray[np.bool_]) -> Report:
    if not lines:
        raise CorpusError("there is no message to be judged by; import or collect more chat")
    encoded = encode_lines(lines, loaded.tokenizer)
    losses = {name: evaluate(model, encoded, unseen) for name, model in loaded.models.items()}
    return Report(losses, len(lines), int(unseen.sum()), len(encoded.tokens))


def next_chances(loaded: Loaded, text: str, count: int) -> list[tuple[str, list[float]]]:
    """The likeliest tokens behind `text` at the beginning of a line: each with its chance by every model."""
    tokenizer = loaded.tokenizer
    context = [tokenizer.end_token, tokenizer.slot_token(SPEAKER_SLOTS - 1), *tokenizer.encode(text)]
    chances = [np.exp(model.decoder(context, 1).log_probabilities()[0]) for model in loaded.models.values()]
    likeliest = np.argsort(-chances[-1], kind="stable")[:count]
    return [(tokenizer.piece(int(token)), [float(each[token]) for each in chances]) for token in likeliest]
