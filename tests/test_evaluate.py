"""The loss is what it says: nats over all tokens, bits over text and ends, the unseen lines apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from trainer.dataset import encode_lines, excerpt, normalised, unseen
from trainer.evaluate import evaluate
from trainer.models.language_model import Decoder, LogProbabilities, Tokens
from trainer.tokenizer import train_tokenizer


@dataclass(frozen=True)
class ALine:
    parts: tuple[str | int, ...]
    slot: int = 0
    row: int = 0
    conversation: int = 0


TOKENIZER = train_tokenizer("char", [], 265)


class Uniform:
    vocab_size = TOKENIZER.vocab_size

    def score(self, tokens: Tokens) -> LogProbabilities:
        return np.full(len(tokens), -np.log(self.vocab_size), dtype=np.float32)

    def decoder(self, context: Sequence[int], batch: int) -> Decoder:
        raise NotImplementedError


class Eager(Uniform):
    """Certain of speaker slots, at a loss about text."""

    def score(self, tokens: Tokens) -> LogProbabilities:
        return np.where(tokens > TOKENIZER.end_token, 0.0, super().score(tokens)).astype(np.float32)


def chat(*texts: str) -> list[ALine]:
    return [ALine((text,), row=row) for row, text in enumerate(texts)]


def test_a_uniform_model_costs_the_logarithm_of_its_vocabulary() -> None:
    loss = evaluate(Uniform(), encode_lines(chat("hello", "you"), TOKENIZER))
    assert loss.nats_per_token == pytest.approx(np.log(265), rel=1e-6)
    assert loss.bits_per_character == pytest.approx(np.log2(265), rel=1e-6)


def test_the_opening_slot_counts_in_nats_but_not_in_bits() -> None:
    lines = encode_lines(chat("hello", "you"), TOKENIZER)
    assert evaluate(Eager(), lines).bits_per_character == evaluate(Uniform(), lines).bits_per_character
    assert evaluate(Eager(), lines).nats_per_token < evaluate(Uniform(), lines).nats_per_token


def test_a_mention_is_one_character() -> None:
    lines = encode_lines([ALine(("hi ", 2))], TOKENIZER)
    assert lines.characters.tolist() == [5]
    assert evaluate(Uniform(), lines).bits_per_character == pytest.approx(np.log2(265), rel=1e-6)


def test_unseen_messages_are_those_said_nowhere_in_training() -> None:
    trained_on = {normalised(line) for line in chat("Good  Morning", "pog")}
    validation = chat("good morning ", "something new")
    assert unseen(validation, trained_on).tolist() == [False, True]


def test_no_messages_have_no_loss() -> None:
    with pytest.raises(ValueError, match="at least one"):
        evaluate(Uniform(), encode_lines([], TOKENIZER))


def test_a_conversation_is_one_document_and_another_one_starts_afresh() -> None:
    talk = [ALine(("a",), conversation=1), ALine(("b",), conversation=1), ALine(("c",), conversation=2)]
    assert [len(document) for document in encode_lines(talk, TOKENIZER).documents()] == [6, 3]


def test_an_excerpt_is_bounded_whole_lines_from_all_over_and_always_the_same() -> None:
    lines = encode_lines(chat(*(f"line {number}" for number in range(1000))), TOKENIZER)
    few = excerpt(lines, 100, stretch=10)
    assert len(few) == 100
    assert few.rows[0] == 0
    assert few.rows[-1] == 999
    assert len(list(few.spans())) == 10
    assert few.tokens.tolist() == excerpt(lines, 100, stretch=10).tokens.tolist()
    for index in (0, 55, 99):
        text = TOKENIZER.decode(few.tokens[few.starts[index] : few.starts[index + 1]])
        assert text == f"line {few.rows[index]}"
    assert evaluate(Uniform(), few).bits_per_character > 0
