"""What the ladder learns from: a channel's chat, or a plain text with the lectures' own splits and vocabulary.

Knows nothing of models; every rung gets the same tokens, the same sides and the same loss.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from corpus.errors import TrainingError
from corpus.slots import SpeakerWindow
from corpus.transcript import render
from trainer.dataset import EncodedLines, excerpt
from trainer.evaluate import ScoresDocuments, evaluate
from trainer.metrics import Loss
from trainer.models.language_model import LanguageModel, Tokens
from trainer.tokenizer import Kind, Tokenizer, train_tokenizer

Documents = Literal["lines", "whole"]
TEXT_VOCABULARY = 1024  # for words or word pieces of a plain text of about a megabyte


class Vocabulary(Protocol):
    """What rungs and pictures need to know of tokens."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def end_token(self) -> int: ...

    def decode(self, tokens: Iterable[int]) -> str: ...

    def piece(self, token: int) -> str: ...


class ClosedVocabulary:
    """Only the tokens that occur in one text, numbered anew: the lectures' 27 of the names, 65 of Shakespeare.

    A tokenizer for chat keeps a token for every byte, because anything may be said tomorrow; a closed text needs
    none of them, and a loss of ln(27) can be compared with what was said in a lecture.
    """

    def __init__(self, tokenizer: Tokenizer, used: Iterable[int]) -> None:
        self._tokenizer = tokenizer
        self._used = sorted(set(used))
        self._number = np.full(tokenizer.vocab_size, -1, dtype=np.int64)
        self._number[self._used] = np.arange(len(self._used))

    @property
    def vocab_size(self) -> int:
        return len(self._used)

    @property
    def end_token(self) -> int:
        return int(self._number[self._tokenizer.end_token])

    def renumber(self, tokens: Sequence[int]) -> Tokens:
        return np.asarray(self._number[np.asarray(tokens, dtype=np.int64)], dtype=np.int64)

    def number(self, token: int) -> int:
        return int(self._number[token])

    def decode(self, tokens: Iterable[int]) -> str:
        return self._tokenizer.decode(self._used[token] for token in tokens)

    def piece(self, token: int) -> str:
        return self._tokenizer.piece(self._used[token])


@dataclass(frozen=True)
class Side:
    """One side of a split: documents whose contexts do not reach into each other, and what is needed for a loss."""

    documents: list[Tokens]
    characters: int
    lines: EncodedLines | None = None  # of chat, where a line's opening slot is not text
    unseen: npt.NDArray[np.bool_] | None = None

    @property
    def tokens(self) -> int:
        return sum(len(document) for document in self.documents)

    @property
    def messages(self) -> int:
        """Lines of chat, or documents of a text."""
        return len(self.lines) if self.lines is not None else len(self.documents)

    def stream(self) -> Tokens:
        """All documents back to back."""
        return np.concatenate(self.documents) if self.documents else np.zeros(0, dtype=np.int64)

    def loss(self, model: LanguageModel) -> Loss:
        """The one evaluation; for a plain text every token is text."""
        if self.lines is not None:
            return evaluate(model, self.lines, self.unseen)
        if isinstance(model, ScoresDocuments):
            scores = model.score_documents(self.documents)
        else:
            scores = [model.score(document) for document in self.documents]
        total = -float(np.concatenate(scores).sum(dtype=np.float64))
        return Loss(total / self.tokens, total / np.log(2) / self.characters)

    def excerpt(self, most_tokens: int) -> "Side":
        """A part of at most about so many tokens, always the same: what a loss curve can afford to read often."""
        if self.tokens <= most_tokens:
            return self
        share = most_tokens / self.tokens
        if self.lines is not None:
            lines = excerpt(self.lines, max(1, int(share * len(self.lines))))
            return Side(lines.documents(), int(lines.characters.sum()), lines)
        if len(self.documents) == 1:
            document = self.documents[0][:most_tokens]
            return Side([document], round(self.characters * len(document) / self.tokens))
        chosen = self.documents[: max(1, int(share * len(self.documents)))]
        kept = sum(len(document) for document in chosen)
        return Side(chosen, round(self.characters * kept / self.tokens))


@dataclass(frozen=True)
class LadderData:
    """Everything a rung is given. Before a text begins stands `start_token`; `opening` begins a sample, which ends at
    `stop`, where there is one. `independent` documents are trained on one by one, others as one stream."""

    name: str
    level: str
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    start_token: int
    train: Side
    validation: Side
    test: Side | None = None
    independent: bool = False
    opening: tuple[int, ...] = ()
    stop: tuple[int, ...] = ()

    @property
    def vocab_size(self) -> int:
        return self.vocabulary.vocab_size

    def tuning(self) -> tuple[list[Tokens], list[Tokens]]:
        """What to fit and what to choose by, for the few numbers that are chosen: the dev split where a test split
        is kept back; else the last tenth of the training side, so that validation chooses nothing."""
        if self.test is not None:
            return self.train.documents, self.validation.documents
        return _last_tenth(self.train.documents)

    def speak(self, tokens: Sequence[int]) -> str:
        """A sample as people read it: of chat, with a plain word for whoever is mentioned."""
        if self.validation.lines is not None:
            return render(self.tokenizer.decode_parts(tokens), SpeakerWindow()).strip()
        return self.vocabulary.decode(tokens)


def _last_tenth(documents: list[Tokens]) -> tuple[list[Tokens], list[Tokens]]:
    """Cut between documents; through one only where that is all there is."""
    if len(documents) == 1:
        border = int(len(documents[0]) * 0.9)
        return [documents[0][:border]], [documents[0][border:]]
    ends = np.cumsum([len(document) for document in documents])
    border = min(max(int(np.searchsorted(ends, 0.9 * ends[-1])), 1), len(documents) - 1)
    return documents[:border], documents[border:]


def read_text(file: Path) -> str:
    """A plain text. Raises TrainingError when it cannot be read or holds next to nothing."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"{file} cannot be read ({error.strerror}); give a UTF-8 text file") from error
    except UnicodeDecodeError as error:
        raise TrainingError(f"{file} is no UTF-8 text (byte {error.start} fits no character); convert it") from error
    if len(text) < 1000:
        raise TrainingError(f"{file} has {len(text)} characters; the ladder needs a thousand at least")
    if len(set(text)) < 3:
        raise TrainingError(f"{file} has {len(set(text))} kinds of character; there is nothing to learn from it")
    return text


def text_data(text: str, *, name: str, level: Kind, documents: Documents, seed: int) -> LadderData:
    """The lectures' splits: `lines` are documents, shuffled, 80/10/10; a `whole` text is cut 90/10 in its order."""
    if documents == "lines":
        return _lines_data(text, name, level, seed)
    border = int(0.9 * len(text))
    train_text, validation_text = text[:border], text[border:]
    tokenizer = train_tokenizer(level, train_text.splitlines(keepends=True), _vocabulary_for(level))
    train, validation = tokenizer.encode(train_text), tokenizer.encode(validation_text)
    newline = tokenizer.encode("\n")[0]
    vocabulary = ClosedVocabulary(tokenizer, {*train, *validation, newline})
    return LadderData(
        name=name,
        level=level,
        vocabulary=vocabulary,
        tokenizer=tokenizer,
        start_token=vocabulary.number(newline),
        train=Side([vocabulary.renumber(train)], len(train_text)),
        validation=Side([vocabulary.renumber(validation)], len(validation_text)),
    )


def _lines_data(text: str, name: str, level: Kind, seed: int) -> LadderData:
    lines = [line for line in text.splitlines() if line]
    if len(lines) < 20:
        raise TrainingError(f"{name} has {len(lines)} lines; as documents the ladder needs twenty at least")
    random.Random(seed).shuffle(lines)
    borders = int(0.8 * len(lines)), int(0.9 * len(lines))
    tokenizer = train_tokenizer(level, lines[: borders[0]], _vocabulary_for(level))
    encoded = [[*tokenizer.encode(line), tokenizer.end_token] for line in lines]
    vocabulary = ClosedVocabulary(tokenizer, {token for tokens in encoded for token in tokens})

    def side(start: int, end: int) -> Side:
        characters = sum(len(line) + 1 for line in lines[start:end])
        return Side([vocabulary.renumber(tokens) for tokens in encoded[start:end]], characters)

    return LadderData(
        name=name,
        level=level,
        vocabulary=vocabulary,
        tokenizer=tokenizer,
        start_token=vocabulary.end_token,
        train=side(0, borders[0]),
        validation=side(*borders),
        test=side(borders[1], len(lines)),
        independent=True,
        stop=(vocabulary.end_token,),
    )


def _vocabulary_for(level: Kind) -> int:
    return 4096 if level == "char" else TEXT_VOCABULARY
