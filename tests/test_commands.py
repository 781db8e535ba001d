"""Commands are found in what people type, and a sparkline draws what it is given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands import BARS, parse, short, sparkline


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
