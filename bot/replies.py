"""Which of several generated lines to try first. Pure; what may be said at all is for the gate to decide.

Small models trained on chat love one word, one emote and what was just said: those come last.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from corpus.message import ChatMessage

WORD = re.compile(r"\w+")
LONG_CHARACTERS = 220


class Generated(Protocol):
    @property
    def text(self) -> str: ...
    @property
    def nats_per_token(self) -> float: ...


def preferred(candidates: Iterable[Generated], conversation: Sequence[ChatMessage], prompt: str = "") -> list[str]:
    """The candidates worth trying, best first, each text once.

    Left out: empty ones, and those that add nothing to the prompt. Behind all others: echoes of the conversation, one
    word alone, the same word again and again, rambling. Among the rest the one the model is surest of, a token, wins:
    it is the one that hangs together best.
    """
    heard = {plain(message.text) for message in conversation}
    ranked: dict[str, tuple[int, float]] = {}
    for candidate in candidates:
        text = " ".join(candidate.text.split())
        if not plain(text) or (prompt and plain(text) == plain(prompt)):
            continue
        ranked[text] = min((faults(text, heard), candidate.nats_per_token), ranked.get(text, (99, 0.0)))
    return sorted(ranked, key=lambda text: ranked[text])


def faults(text: str, heard: set[str]) -> int:
    """How many kinds of dull a line is."""
    words = WORD.findall(text.casefold())
    return sum(
        (
            2 * (plain(text) in heard),
            len(words) < 2,
            len(words) > 3 and len(set(words)) <= len(words) // 3,
            len(text) > LONG_CHARACTERS,
        )
    )


def plain(text: str) -> str:
    """A line without what makes no difference: case, punctuation, spacing."""
    return " ".join(WORD.findall(text.casefold())) or "".join(text.split())
