"""Commands are found in what people type, and a sparkline draws what it is given."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands import BARS, Command, parse, short, sparkline
from bot.companion import Companion
from bot.control import Mouth
from bot.games import Bets
from bot.people import People
from bot.settings import BotTable, SafetyTable
from corpus.store import Corpus

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("!say hello there", ("say", "hello there")),
        ("  !LOSS  ", ("loss", "")),
        ("!help\U000e0000", ("help", "")),
        ("hello !say", None),
        ("!", None),
        ("!!", None),
        ("! say", None),
    ],
)
def test_a_command_is_an_exclamation_mark_and_a_word(text: str, parsed: tuple[str, str] | None) -> None:
    assert parse(text) == parsed


@given(st.lists(st.floats(0, 10), max_size=200), st.integers(1, 40))
def test_a_sparkline_is_never_wider_than_asked_and_spans_low_to_high(values: list[float], width: int) -> None:
    drawn = sparkline(values, width)
    assert len(drawn) == min(len(values), width)
    assert set(drawn) <= set(BARS)
    if values and len(values) <= width and max(values) - min(values) > 1e-6:
        assert drawn[values.index(max(values))] == BARS[-1]
        assert drawn[values.index(min(values))] == BARS[0]


@pytest.mark.parametrize(("number", "text"), [(7, "7"), (1_000, "1k"), (1_234_567, "1.2M"), (3_000_000_000, "3B")])
def test_parameters_are_told_as_people_say_them(number: int, text: str) -> None:
    assert short(number) == text


@pytest.fixture
def every_command(tmp_path: Path) -> Iterator[tuple[Command, ...]]:
    """As bot/program.py puts them together."""
    with Corpus.open(tmp_path / "chat.db") as corpus, ThreadPoolExecutor(1) as work:
        people = People(corpus, keep_days=0, work=work, clear=lambda event: None, changed=lambda: None)
        mouth = Mouth(SafetyTable(), tmp_path / "control.json", now_ms=lambda: 0)
        bets = Bets(tmp_path / "scores.json")
        commands = (*bets.commands, *people.commands, *mouth.commands)
        yield Companion(BotTable(), randomness=random.Random(1), commands=commands).commands


def test_every_command_is_explained_in_the_docs(every_command: tuple[Command, ...]) -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for command in every_command:
        for name in (command.name, *command.aliases):
            assert f"!{name}" in page or name == "commands", name


def test_no_two_commands_answer_to_one_name(every_command: tuple[Command, ...]) -> None:
    names = [name for command in every_command for name in (command.name, *command.aliases)]
    assert len(names) == len(set(names))
