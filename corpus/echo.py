"""Whether a line only gives back what was just said: all, a piece, or most of it with a word around. Pure."""

import math
from collections.abc import Iterable

from corpus.shingles import words_of

# Words of which a question is made rather than which it is about.
PLAIN = frozenset(
    ("about", "after", "again", "also", "been", "chat", "could", "does", "doing", "done", "dont", "ever", "every",
     "everyone", "from", "give", "going", "gonna", "good", "have", "hello", "here", "into", "just", "know", "like",
     "little", "make", "many", "maybe", "more", "most", "much", "nice", "really", "right", "said", "says", "should",
     "some", "something", "tell", "than", "thank", "thanks", "that", "thats", "their", "them", "then", "there",
     "these", "they", "thing", "think", "this", "those", "time", "today", "very", "want", "well", "were", "what",
     "whats", "when", "where", "which", "while", "will", "with", "would", "your", "youre")
)  # fmt: skip
SHARE = 0.6
SHORTEST_RUN = 3


def plain_line(text: str) -> str:
    """A line as it is compared: its words, each with a space before and behind."""
    return f" {' '.join(words_of(text))} "


def is_telling(word: str) -> bool:
    """Whether a word may be what a line is about."""
    return len(word) > 3 and word not in PLAIN


def is_echo(text: str, heard: Iterable[str]) -> bool:
    """Whether most of `text` stands, in the same order and without a gap, in one of `heard` (as `plain_line` has them).

    One word alone is an echo only of the same word alone: it may well be the answer.
    """
    words = words_of(text)
    if not words:
        return False
    if len(words) == 1:
        return plain_line(text) in heard
    run = min(len(words), max(SHORTEST_RUN, math.ceil(len(words) * SHARE)))
    runs = [f" {' '.join(words[at : at + run])} " for at in range(len(words) - run + 1)]
    return any(each in line for line in heard for each in runs)
