"""Text to tokens and back: characters, words, BPE or GPT-2's own, with special tokens that no text can spell.

One mechanism serves all kinds: a pattern cuts text into pieces, a piece in the vocabulary is one token, any other is
spelled from smaller ones, at worst from its bytes. So every text of any script survives the round trip.
"""

import base64
import binascii
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import rustbpe
import tiktoken

from corpus.errors import CheckpointError, TrainingError
from corpus.slots import SPEAKER_SLOTS
from trainer.models.language_model import Tokens

Kind = Literal["char", "word", "bpe", "gpt2"]

# In every pattern a newline is a piece of its own, so that many lines joined by newlines are cut exactly as each alone:
# one long text is encoded twenty times faster than many short ones.
_SPACES = r"\n|[^\S\n]+(?!\S)|[^\S\n]+"
PATTERNS: Mapping[str, str] = {
    "char": r"(?s:.)",
    "word": rf" ?\w+| ?[^\s\w]+|{_SPACES}",
    "gpt2": rf"'(?:[sdmt]|ll|ve|re)| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|{_SPACES}",
    "bpe": rf" ?\p{{L}}+| ?\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+|{_SPACES}",
}
BYTES = 256
SPECIAL_TOKENS = 1 + SPEAKER_SLOTS  # <end> and the speaker slots, numbered after the text tokens
TEXTS_AT_ONCE = 20_000  # joined for encoding: what a list of tokens takes stays small
FORMAT_VERSION = 1


class Line(Protocol):
    """What is encoded of a corpus.transcript.TranscriptLine."""

    @property
    def slot(self) -> int: ...

    @property
    def parts(self) -> tuple[str | int, ...]: ...


class Tokenizer:
    """Text tokens are 0 … text_tokens - 1; then come <end> and <s0> … <s7>, which only `encode_line` produces."""

    def __init__(self, kind: Kind, pattern: str, ranks: Mapping[bytes, int]) -> None:
        self.kind: Kind = kind
        self.pattern = pattern
        self.text_tokens = len(ranks)
        self._ranks = dict(ranks)
        self._encoding = tiktoken.Encoding(
            name=f"backchat-{kind}", pat_str=pattern, mergeable_ranks=self._ranks, special_tokens={}
        )
        self._newline = self._ranks[b"\n"]
        self._bytes = [spelling for spelling, _ in sorted(self._ranks.items(), key=lambda item: item[1])]

    @property
    def vocab_size(self) -> int:
        return self.text_tokens + SPECIAL_TOKENS

    @property
    def end_token(self) -> int:
        """<end>: the message is over; counted as one character, a newline."""
        return self.text_tokens

    def slot_token(self, slot: int) -> int:
        """<s{slot}>: the speaker of a line at its beginning, somebody mentioned inside it."""
        if not 0 <= slot < SPEAKER_SLOTS:
            raise ValueError(f"speaker slots are 0 to {SPEAKER_SLOTS - 1}, not {slot}")
        return self.text_tokens + 1 + slot

    def is_special(self, token: int) -> bool:
        return token >= self.text_tokens

    def encode(self, text: str) -> list[int]:
        """Tokens of plain text; never a special one, whatever the text says."""
        return self._encoding.encode_ordinary(text)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of `tokens`; special tokens have none, and half a character at an edge is left out."""
        spelled = b"".join(self._bytes[token] for token in tokens if token < self.text_tokens)
        return spelled.decode("utf-8", errors="ignore")

    def decode_parts(self, tokens: Sequence[int]) -> tuple[str | int, ...]:
        """A line as corpus.transcript keeps it: its text, with a number where a speaker slot is mentioned.

        Stops at <end>. The slot token of the speaker itself is not expected in front.
        """
        parts: list[str | int] = []
        run: list[int] = []
        for token in (*tokens, self.end_token):
            if not self.is_special(token):
                run.append(token)
                continue
            if text := self.decode(run):
                parts.append(text)
            run = []
            if token == self.end_token:
                break
            parts.append(token - self.text_tokens - 1)
        return tuple(parts)

    def piece(self, token: int) -> str:
        """One token as a person can read it: `<s0>`, `<end>`, ` hello`, or `\\xe2` for half a character."""
        if token == self.end_token:
            return "<end>"
        if self.is_special(token):
            return f"<s{token - self.text_tokens - 1}>"
        return self._bytes[token].decode("utf-8", errors="backslashreplace")

    def encode_line(self, line: Line) -> list[int]:
        """`<s{slot}> text … <end>`, with slot tokens where somebody is mentioned."""
        tokens = [self.slot_token(line.slot)]
        for part in line.parts:
            tokens.extend([self.slot_token(part)] if isinstance(part, int) else self.encode(part))
        tokens.append(self.end_token)
        return tokens

    def encode_lines(self, lines: Iterable[Line]) -> tuple[Tokens, Tokens]:
        """The tokens of all lines back to back, and where each line starts (with the total at the end).

        The same tokens as `encode_line` of each, all text being encoded in one go.
        """
        texts: list[str] = []
        plan: list[int | None] = []  # a special token, or None for the next text
        starts: list[int] = []  # index into plan
        for line in lines:
            starts.append(len(plan))
            plan.append(self.slot_token(line.slot))
            for part in line.parts:
                if isinstance(part, int):
                    plan.append(self.slot_token(part))
                else:
                    plan.append(None)
                    texts.append(part)
            plan.append(self.end_token)
        specials = np.array([-1 if entry is None else entry for entry in plan], dtype=np.int64)
        stream, lengths = self._encode_texts(texts)
        sizes = np.ones(len(plan), dtype=np.int64)
        sizes[specials < 0] = lengths
        ends = np.cumsum(sizes)
        tokens = np.full(int(ends[-1]) if len(ends) else 0, -1, dtype=np.int64)
        is_special = specials >= 0
        tokens[ends[is_special] - 1] = specials[is_special]
        tokens[tokens < 0] = stream
        begins = np.concatenate([np.zeros(1, dtype=np.int64), ends])
        return tokens, begins[np.array([*starts, len(plan)], dtype=np.int64)]

    def _encode_texts(self, texts: Sequence[str]) -> tuple[Tokens, Tokens]:
        """All tokens of all texts back to back, and how many each has."""
        if not texts:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        if any("\n" in text for text in texts):
            each = [self.encode(text) for text in texts]
            lengths = np.array([len(tokens) for tokens in each], dtype=np.int64)
            return np.array([token for tokens in each for token in tokens], dtype=np.int64), lengths
        joined = np.concatenate(
            [
                np.fromiter(self.encode("\n".join(texts[first : first + TEXTS_AT_ONCE]) + "\n"), np.int64)
                for first in range(0, len(texts), TEXTS_AT_ONCE)
            ]
        )
        breaks = np.flatnonzero(joined == self._newline)
        return joined[joined != self._newline], np.diff(breaks, prepend=-1) - 1

    def to_json(self) -> dict[str, Any]:
        """Everything needed to make it again, for the checkpoint."""
        spelled = [base64.b64encode(spelling).decode("ascii") for spelling in self._bytes]
        return {"version": FORMAT_VERSION, "kind": self.kind, "pattern": self.pattern, "tokens": spelled}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Tokenizer":
        """Raises CheckpointError for anything that `to_json` has not written."""
        try:
            if saved["version"] != FORMAT_VERSION:
                raise CheckpointError(
                    f"tokenizer format {saved['version']} is not what this Backchat reads ({FORMAT_VERSION})"
                )
            spelled = [base64.b64decode(token, validate=True) for token in saved["tokens"]]
            return cls(saved["kind"], saved["pattern"], {spelling: rank for rank, spelling in enumerate(spelled)})
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise CheckpointError(f"the tokenizer of a checkpoint is damaged ({error!r}); train again") from error


def train_tokenizer(kind: Kind, texts: Iterable[str], vocab_size: int, *, longest_word: int = 15) -> Tokenizer:
    """A tokenizer for these texts with at most `vocab_size` tokens, special ones included (fewer for little text).

    `longest_word` keeps longer words out of a word vocabulary; they are spelled instead. "gpt2" is trained already
    and ignores both. Raises TrainingError when GPT-2's vocabulary is neither cached nor to be downloaded.
    """
    if kind == "gpt2":
        return _gpt2()
    room = vocab_size - SPECIAL_TOKENS - BYTES
    if room < 0:
        raise TrainingError(f"[model] vocab_size is {vocab_size}, and must be {BYTES + SPECIAL_TOKENS} at least")
    ranks = {bytes([value]): value for value in range(BYTES)}
    if kind == "bpe":
        logging.getLogger("rustbpe").setLevel(logging.WARNING)  # at INFO it tells what people wrote
        trainer = rustbpe.Tokenizer()
        trainer.train_from_iterator(iter(texts), BYTES + room, pattern=PATTERNS["bpe"])
        ranks = {bytes(spelling): rank for spelling, rank in trainer.get_mergeable_ranks()}
    else:
        for spelling in _frequent(kind, texts, room, longest_word):
            ranks[spelling] = len(ranks)
    return Tokenizer(kind, PATTERNS[kind], ranks)


def _frequent(kind: Kind, texts: Iterable[str], room: int, longest_word: int) -> list[bytes]:
    """The most frequent characters or words that are no single byte, those seen once left out, ties in byte order."""
    counts: Counter[str] = Counter()
    if kind == "char":
        for text in texts:
            counts.update(text)
    else:
        pieces = re.compile(PATTERNS["word"])
        for text in texts:
            counts.update(piece for piece in pieces.findall(text) if len(piece.lstrip(" ")) <= longest_word)
    candidates = [(-count, piece.encode("utf-8")) for piece, count in counts.items() if count > 1]
    wanted = sorted(entry for entry in candidates if len(entry[1]) > 1)
    return [spelling for _, spelling in wanted[:room]]


def _gpt2() -> Tokenizer:
    try:
        original = tiktoken.get_encoding("gpt2")
    except Exception as error:
        raise TrainingError(
            'tokenizer = "gpt2" needs its vocabulary once: go online, or set TIKTOKEN_CACHE_DIR to a folder that has it'
        ) from error
    ranks = {spelling: original.encode_single_token(spelling) for spelling in original.token_byte_values()}
    return Tokenizer("gpt2", PATTERNS["gpt2"], ranks)
