"""What a corpus is made of: words, emotes, spam and what cleaning leaves out. Pure; the store counts in SQL."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from corpus.cleaning import Rules
from corpus.store import StoredMessage
from corpus.transcript import transcript

BARS = "▁▂▃▄▅▆▇█"
_WORD = re.compile(r"[^\W\d_][\w']*")
_EMOTE_LIKE = re.compile(r"^(?=.*[a-z])(?=.*[A-Z].*[A-Z]|[a-z]+[A-Z])[A-Za-z][A-Za-z0-9]{2,24}$")

# The commonest English words say nothing about a channel.
_STOP_WORDS = """
a about all also am an and any are as at be been but by can could did do does don't dont for from get go going got had
has have he her here him his how i i'll i'm i've if im in into is isn't it it's its just know like me my no not now of
off oh ok on one or out she so some than that that's thats the their them then there they this to too u up us was we
well were what when who will with would yeah yes you you're your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


@dataclass
class Content:
    """What reading every message found."""

    learned: int = 0
    characters: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    emotes: Counter[str] = field(default_factory=Counter)


def content_of(messages: Iterable[StoredMessage], rules: Rules) -> Content:
    """Words, emotes and what cleaning drops, in one pass."""
    content = Content()
    emotes: Counter[str] = content.emotes

    def watched() -> Iterable[StoredMessage]:
        for stored in messages:
            message = stored.message
            for emote in message.emotes:
                emotes[message.text[emote.start : emote.end]] += 1
            yield stored

    for line in transcript(watched(), rules, content.dropped):
        content.learned += 1
        for part in line.parts:
            if isinstance(part, int):
                continue
            content.characters += len(part)
            for word in part.split():
                if _EMOTE_LIKE.match(word):
                    emotes[word] += 1
                elif (lower := word.lower()) not in STOP_WORDS and _WORD.fullmatch(lower) and len(lower) > 1:
                    content.words[lower] += 1
    return content


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """A row of bars, each the sum of its share of `values`; empty for no values."""
    if not values:
        return ""
    if len(values) > width:
        edges = [round(place * len(values) / width) for place in range(width + 1)]
        values = [sum(values[start:end]) for start, end in pairwise(edges)]
    top = max(values)
    if top <= 0:
        return BARS[0] * len(values)
    return "".join(" " if value <= 0 else BARS[min(len(BARS) - 1, int(value / top * len(BARS)))] for value in values)
