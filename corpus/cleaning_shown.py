"""Cleaning before and after, on real rows and rule by rule, so that an operator can judge the rules. Pure."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from corpus.cleaning import STEPS, Dropped, Rules, clean
from corpus.split import BLOCK_MS, ROWS_A_BLOCK
from corpus.store import StoredMessage
from corpus.transcript import FloodGate

Texts = tuple[str, str | None]


@dataclass
class Touched:
    """What one rule did: to how many rows, and to a few of them. An example without an after was left out."""

    rule: str
    reason: str
    rows: int = 0
    examples: list[Texts] = field(default_factory=list)


@dataclass
class Shown:
    """What all rules did to the rows that were read."""

    rows: int = 0
    untouched: int = 0
    rules: list[Touched] = field(default_factory=list)


_LEFT_OUT = (
    ("bot", "a known bot wrote it"),
    ("command", "lines to bots teach the model to trigger bots"),
    ("empty", "nothing is left of it"),
    ("flood", "one line said over and over would take over"),
)


def show_cleaning(messages: Iterable[StoredMessage], rules: Rules, examples: int, chance: random.Random) -> Shown:
    """Clean every message and keep, of each rule, as many rows as asked for, each row as likely as any other."""
    touched = {
        **{name: Touched(name, reason) for name, reason in _LEFT_OUT},
        **{step.name: Touched(step.name, step.reason) for step in STEPS},
    }
    shown = Shown()
    flood = FloodGate(rules.identical_lines)
    position = 0
    for stored in messages:
        message = stored.message
        shown.rows += 1
        text = clean(message, rules)
        if isinstance(text, Dropped):
            _note(touched[text.reason], (message.text, None), examples, chance)
            continue
        position += 1
        block = position // ROWS_A_BLOCK if message.sent_ms is None else message.sent_ms // BLOCK_MS
        if not flood.admits(text, block):
            _note(touched["flood"], (message.text, None), examples, chance)
        elif text == message.text:
            shown.untouched += 1
        else:
            for name in acting(message.text):
                _note(touched[name], (message.text, text), examples, chance)
    shown.rules = [one for one in touched.values() if one.rows]
    return shown


def acting(text: str) -> Sequence[str]:
    """The names of the rules that change a text, in the order in which they are applied."""
    names = []
    for step in STEPS:
        after = step.apply(text)
        if after != text:
            names.append(step.name)
        text = after
    return names


def _note(touched: Touched, texts: Texts, most: int, chance: random.Random) -> None:
    touched.rows += 1
    if len(touched.examples) < most:
        touched.examples.append(texts)
    elif (place := chance.randrange(touched.rows)) < most:
        touched.examples[place] = texts
