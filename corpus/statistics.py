"""What a corpus is made of: words, emotes, spam and what cleaning leaves out. Pure; the store counts in SQL."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from corpus.cleaning import ADDRESS, LINK, MAIL, PHONE, Rules
from corpus.store import StoredMessage
from corpus.transcript import transcript

LONGEST_OF_ONE = 12
MOST_OF_ONE = 6
_PLACEHOLDERS = (LINK, MAIL, PHONE, ADDRESS)
BARS = "▁▂▃▄▅▆▇█"
_WORD = re.compile(r"[^\W\d_][\w']*")
# Emotes are written in mixed case, but for some that everybody knows.
_EMOTE_LIKE = re.compile(
    r"^(?:(?=.*[a-z])(?=.*[A-Z].*[A-Z]|[a-z]+[A-Z])[A-Za-z][A-Za-z0-9]{2,24}"
    r"|Kappa|Keepo|Kreygasm|Jebaited|ANELE|Pog|Sadge|Madge|Bedge|Prayge|Copium|Clap"
    r"|LULW?|KEKW|KEKL|OMEGALUL|POGGERS|POGCRAZY|POG|EZ|ICANT|NOTED|DOCING|PEPW|SMOrc|D:|<3|:\)|:\(|:D|;\))$"
)

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
    """What reading every message found.

    `dropped` counts lines that cleaning leaves out by reason, `replaced` lines of which it hides a part, by the word
    that stands there instead. `spam` counts floods, commands, links, and lines of one thing over and over, by kind.
    """

    read: int = 0
    learned: int = 0
    characters: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    replaced: Counter[str] = field(default_factory=Counter)
    spam: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    emotes: Counter[str] = field(default_factory=Counter)


def content_of(messages: Iterable[StoredMessage], rules: Rules) -> Content:
    """Words, emotes and what cleaning drops, in one pass."""
    content = Content()
    emotes: Counter[str] = content.emotes
    native: set[str] = set()

    def watched() -> Iterable[StoredMessage]:
        for stored in messages:
            message = stored.message
            content.read += 1
            for emote in message.emotes:
                name = message.text[emote.start : emote.end]
                native.add(name)
                if not _EMOTE_LIKE.match(name):  # what looks like one is counted with the line
                    emotes[name] += 1
            yield stored

    for line in transcript(watched(), rules, content.dropped):
        content.learned += 1
        kinds: set[str] = set()
        for part in line.parts:
            if isinstance(part, int):
                continue
            content.characters += len(part)
            if "[" in part:
                kinds.update(word for word in _PLACEHOLDERS if word in part)
            if is_one_thing_over_and_over(part):
                content.spam["repeats"] += 1
            for word in part.split():
                if _EMOTE_LIKE.match(word):
                    emotes[word] += 1
                elif word in native:
                    continue
                elif (lower := word.lower()) not in STOP_WORDS and _WORD.fullmatch(lower) and len(lower) > 1:
                    content.words[lower] += 1
        content.replaced.update(kinds)
    content.spam["links"] = content.replaced[LINK]
    for reason, kind in (("flood", "floods"), ("command", "commands"), ("bot", "bots")):
        content.spam[kind] += content.dropped[reason]
    content.spam = +content.spam
    return content


def is_one_thing_over_and_over(text: str) -> bool:
    """One word six times or more, or one character twelve times or more, and hardly anything else."""
    if len(text) < LONGEST_OF_ONE:
        return False
    words = text.split()
    if len(words) >= MOST_OF_ONE:
        return len(set(words)) == 1
    return len(words) == 1 and len(set(text.casefold())) == 1


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
