"""What one run learns from and is judged by: the corpus read once, tokenised, and set apart by side.

Knows nothing of models. Recent training lines are held out from the network for weighing the two memories, so that
validation stays unseen by everything that is fitted.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from corpus.cleaning import Rules
from corpus.errors import TrainingError
from corpus.garbage import uncollected
from corpus.store import Corpus
from corpus.transcript import TranscriptLine, transcript
from trainer.dataset import EncodedLines, encode_lines, excerpt
from trainer.plan import vocabulary_for
from trainer.schedule import missing
from trainer.settings import ModelTable
from trainer.tokenizer import Tokenizer, train_tokenizer

HELD_OUT_SHARE = 20  # one training line in so many, the latest ones
MOST_HELD_OUT = 2000


@dataclass(frozen=True)
class Chat:
    """The corpus as lines, and where its change feed stood just before they were read."""

    train: list[TranscriptLine]
    validation: list[TranscriptLine]
    unseen_rows: frozenset[int]
    removals: int
    last_row: int

    @property
    def characters(self) -> int:
        """Of the training text."""
        return sum(len(part) for line in self.train for part in line.parts if isinstance(part, str))


@dataclass(frozen=True)
class Material:
    """Lines as tokens of one tokenizer. `validation` is an excerpt of bounded cost; `unseen` has one entry a line."""

    tokenizer: Tokenizer
    train: EncodedLines
    held_out: EncodedLines
    validation: EncodedLines
    unseen: npt.NDArray[np.bool_]
    message_ids: list[str]
    chat: Chat

    @property
    def seen_rows(self) -> npt.NDArray[np.int64]:
        return np.sort(np.concatenate([self.train.rows, self.held_out.rows]))


def read_chat(corpus: Corpus, rules: Rules) -> Chat:
    """Every line that may be learned from. What is removed while reading is in the change feed after `removals`."""
    removals, last_row = corpus.last_removal(), corpus.last_row()
    train: list[TranscriptLine] = []
    validation: list[TranscriptLine] = []
    with uncollected():
        for line in transcript(corpus.messages(), rules):
            (train if line.side == "train" else validation).append(line)
    return Chat(train, validation, frozenset(corpus.unseen()), removals, last_row)


def require_enough(chat: Chat) -> None:
    """Raises TrainingError that says how many messages are missing, if any are."""
    if lacking := missing(len(chat.train), len(chat.validation)):
        raise TrainingError(f"there is too little chat to train on: {lacking}")


def prepare(
    chat: Chat,
    table: ModelTable,
    *,
    validation_messages: int,
    tokenizer: Tokenizer | None = None,
    longest_word: int = 15,
    say: Callable[[str], None] = lambda sentence: None,
) -> Material:
    """Train a tokenizer (unless one is given) and encode everything. Raises TrainingError for too little chat."""
    require_enough(chat)
    if tokenizer is None:
        say("learning the vocabulary")
        texts = [part for line in chat.train for part in line.parts if isinstance(part, str)]
        vocab_size = vocabulary_for(chat.characters, table)
        tokenizer = train_tokenizer(table.tokenizer, texts, vocab_size, longest_word=longest_word)
    say("encoding")
    aside = min(MOST_HELD_OUT, max(2, len(chat.train) // HELD_OUT_SHARE))
    everything = encode_lines(chat.train, tokenizer)
    validation = excerpt(encode_lines(chat.validation, tokenizer), validation_messages)
    return Material(
        tokenizer=tokenizer,
        train=everything.select(0, len(everything) - aside),
        held_out=everything.select(len(everything) - aside, len(everything)),
        validation=validation,
        unseen=np.isin(validation.rows, np.fromiter(chat.unseen_rows, dtype=np.int64)),
        message_ids=[line.message_id for line in chat.train],
        chat=chat,
    )


def recoded(material: Material, tokenizer: Tokenizer) -> EncodedLines:
    """The same validation lines through another tokenizer: how another checkpoint is judged by the same messages."""
    by_row = {line.row: line for line in material.chat.validation}
    encoded = encode_lines([by_row[int(row)] for row in material.validation.rows], tokenizer)
    return replace(encoded, conversations=material.validation.conversations)
