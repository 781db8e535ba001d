"""Every text survives every tokenizer, and no text can spell a special token."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiktoken
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


any_text = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=60)
bracketed = st.sampled_from(["<end>", "<s0>", "<s7>", "<s", "s0>", "<|endoftext|>", "<", ">", " ", "\0", "\ufffd"])


@pytest.mark.parametrize("kind", KINDS)
@given(pieces=st.lists(st.one_of(any_text, bracketed), max_size=8), slot=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_only_who_speaks_and_the_end_are_special_in_a_line_of_text(kind: Kind, pieces: list[str], slot: int) -> None:
    tokenizer = TOKENIZERS[kind]
    line = ALine(slot, ("".join(pieces),))
    for tokens in (tokenizer.encode_line(line), tokenizer.encode_lines([line])[0].tolist()):
        assert [token for token in tokens if tokenizer.is_special(token)] == [
            tokenizer.slot_token(slot),
            tokenizer.end_token,
        ]
        assert tokenizer.decode(tokens) == "".join(pieces)


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


def test_more_texts_than_are_joined_at_once_are_encoded_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.tokenizer.TEXTS_AT_ONCE", 3)
    tokenizer = TOKENIZERS["bpe"]
    chat = [ALine(1, (text,)) for text in ["good", "", "luck  ", " ", "again??", "", "☕"]]
    tokens, starts = tokenizer.encode_lines(chat)
    assert [tokens[starts[i] : starts[i + 1]].tolist() for i in range(len(chat))] == [
        tokenizer.encode_line(line) for line in chat
    ]


CACHE = Path(__file__).resolve().parents[2] / "shared" / "data" / "tiktoken_cache"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be downloaded, and nothing is remembered of an earlier download."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.delitem(tiktoken.registry.ENCODINGS, "gpt2", raising=False)


@pytest.mark.skipif(not CACHE.is_dir(), reason="GPT-2's vocabulary is not here")
def test_gpt2_is_tiktokens_own_and_works_offline(offline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(CACHE))
    tokenizer = train_tokenizer("gpt2", [], 0)
    text = "hello chat, that's 123 times <|endoftext|> привет"
    assert tokenizer.encode(text) == tiktoken.get_encoding("gpt2").encode_ordinary(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.vocab_size == 50_256 + 9
    assert Tokenizer.from_json(json.loads(json.dumps(tokenizer.to_json()))).encode(text) == tokenizer.encode(text)


def test_gpt2_without_its_vocabulary_says_where_to_get_it(
    offline: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    with pytest.raises(TrainingError, match="TIKTOKEN_CACHE_DIR") as caught:
        train_tokenizer("gpt2", [], 0)
    assert "\n" not in str(caught.value)
