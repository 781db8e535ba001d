"""Which of several generated lines to try first. Pure; what may be said at all is for the gate to decide.

Small models trained on chat love one word, one emote and what was just said: those come last, and a piece of the very
line that is answered is no answer at all.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from corpus.cleaning import ADDRESS, LINK, MAIL, PHONE
from corpus.echo import is_echo, is_telling, plain_line
from corpus.message import ChatMessage
from corpus.shingles import words_of

WORD = re.compile(r"\w+")
LONG_CHARACTERS = 220
PLACEHOLDERS = (LINK, MAIL, PHONE, ADDRESS)  # what stood there was somebody's, and is not remembered
ATTENTION = 1.0  # nats a token that a line may be less sure of and yet win, because it takes up what was said


class Generated(Protocol):
    @property
    def text(self) -> str: ...
    @property
    def nats_per_token(self) -> float: ...


def preferred(candidates: Iterable[Generated], conversation: Sequence[ChatMessage], prompt: str = "") -> list[str]:
    """The candidates worth trying, best first, each text once. The conversation's last message is answered.

    Left out: empty ones, those that add nothing to the prompt, and those that only give back what is answered. Behind
    all others: echoes of the conversation, one word alone, the same word again and again, rambling. Among the rest
    the one the model is surest of, a token, wins, for it hangs together best, unless another takes up a word.
    """
    heard = [plain_line(message.text) for message in conversation]
    asked = heard[-1:] if not prompt else []
    topics = {word for line in asked for word in line.split() if is_telling(word)}
    ranked: dict[str, tuple[int, float]] = {}
    for candidate in candidates:
        text = " ".join(candidate.text.split())
        if not plain(text) or (prompt and plain(text) == plain(prompt)) or is_echo(text, asked):
            continue
        nats = candidate.nats_per_token - ATTENTION * bool(topics & set(words_of(text)))
        ranked[text] = min((faults(text, heard), nats), ranked.get(text, (99, 0.0)))
    return sorted(ranked, key=lambda text: ranked[text])


def faults(text: str, heard: Sequence[str]) -> int:
    """How many kinds of dull a line is."""
    words = WORD.findall(text.casefold())
    return sum(
        (
            2 * is_echo(text, heard),
            len(words) < 2,
            len(words) > 3 and len(set(words)) <= len(words) // 3,
            len(text) > LONG_CHARACTERS,
            any(placeholder in text for placeholder in PLACEHOLDERS),
        )
    )


def plain(text: str) -> str:
    """A line without what makes no difference: case, punctuation, spacing."""
    return " ".join(WORD.findall(text.casefold())) or "".join(text.split())
