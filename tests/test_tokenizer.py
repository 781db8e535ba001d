"""Every text survives every tokenizer, and no text can spell a special token."""

import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import CheckpointError, TrainingError
from trainer.tokenizer import Kind, Tokenizer, train_tokenizer

TEXTS = [
    "good morning everyone, hope the stream goes well",
    "good luck with the boss PogChamp",
    "that boss again?? good grief",
    "naïve café ☕ ☕ привет привет",
    "supercalifragilisticexpialidocious words, supercalifragilisticexpialidocious",
] * 5
KINDS: list[Kind] = ["char", "word", "bpe"]
TOKENIZERS: dict[Kind, Tokenizer] = {kind: train_tokenizer(kind, TEXTS, 400) for kind in KINDS}


@dataclass(frozen=True)
class ALine:
    slot: int
    parts: tuple[str | int, ...]


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text())
@settings(max_examples=150, deadline=None)
def test_any_text_survives_the_round_trip_without_special_tokens(kind: Kind, text: str) -> None:
    tokenizer = TOKENIZERS[kind]
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert not any(tokenizer.is_special(token) for token in tokens)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spelled", ["<end>", "<s0>", "<|endoftext|>", "<s1> hi <end>"])
def test_chat_cannot_spell_a_special_token(kind: Kind, spelled: str) -> None:
    tokenizer = TOKENIZERS[kind]
    assert max(tokenizer.encode(spelled)) < tokenizer.text_tokens


lines = st.builds(
    ALine,
    st.integers(0, 7),
    st.lists(st.one_of(st.text(max_size=12), st.integers(0, 7)), max_size=4).map(tuple),
)


@pytest.mark.parametrize("kind", KINDS)
@given(chat=st.lists(lines, max_size=6))
@settings(max_examples=100, deadline=None)
def test_many_lines_together_are_encoded_as_each_alone(kind: Kind, chat: list[ALine]) -> None:
    tokenizer = TOKENIZERS[kind]
    tokens, starts = tokenizer.encode_lines(chat)
    alone = [tokenizer.encode_line(line) for line in chat]
    assert [tokens[starts[i] : starts[i + 1]].tolist() for i in range(len(chat))] == alone


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_comes_back_with_its_mentions(kind: Kind) -> None:
    tokenizer = TOKENIZERS[kind]
    tokens = tokenizer.encode_line(ALine(3, (1, " good luck, ", 5)))
    assert tokens[0] == tokenizer.slot_token(3)
    assert tokens[-1] == tokenizer.end_token
    assert tokenizer.decode_parts(tokens[1:]) == (1, " good luck, ", 5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_comes_back_from_json(kind: Kind) -> None:
    tokenizer = TOKENIZERS[kind]
    again = Tokenizer.from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert again.vocab_size == tokenizer.vocab_size
    assert [again.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]


def test_frequent_words_are_one_token_and_long_ones_are_spelled() -> None:
    tokenizer = TOKENIZERS["word"]
    assert len(tokenizer.encode("good")) == 1
    assert len(tokenizer.encode("supercalifragilisticexpialidocious")) > 1


def test_frequent_characters_of_any_script_are_one_token() -> None:
    assert len(TOKENIZERS["char"].encode("☕привет")) == 7


@pytest.mark.parametrize("kind", KINDS)
def test_the_vocabulary_stays_within_its_limit(kind: Kind) -> None:
    assert train_tokenizer(kind, TEXTS, 300).vocab_size <= 300


def test_a_vocabulary_smaller_than_the_bytes_is_refused() -> None:
    with pytest.raises(TrainingError, match="265 at least"):
        train_tokenizer("bpe", TEXTS, 100)


def test_a_tokenizer_can_be_trained_on_nothing() -> None:
    for kind in KINDS:
        tokenizer = train_tokenizer(kind, [], 1000)
        assert tokenizer.decode(tokenizer.encode("hello")) == "hello"


def test_half_a_character_is_left_out() -> None:
    tokenizer = train_tokenizer("bpe", [], 265)
    assert tokenizer.decode(tokenizer.encode("a☕")[:-1]) == "a"


@pytest.mark.parametrize(
    "damage", [{}, {"version": 1, "kind": "bpe", "pattern": ".", "tokens": ["*"]}, {"version": 99}]
)
def test_a_damaged_tokenizer_is_refused_in_one_sentence(damage: dict[str, object]) -> None:
    with pytest.raises(CheckpointError) as caught:
        Tokenizer.from_json(damage)
    assert "\n" not in str(caught.value)
