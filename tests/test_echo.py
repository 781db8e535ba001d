"""A line that only gives back what was just said is known, however it is cut; a common turn of phrase is none."""

import pytest

from corpus.echo import is_echo, plain_line

ASKED = "Hello backchat, what a fine day for a heist"


@pytest.mark.parametrize(
    ("text", "echo"),
    [
        ("what a fine day for a heist", True),
        ("kchat, what a fine day for a heist", True),
        ("A FINE DAY!!", True),
        ("hello backchat", True),
        ("what a fine day for a picnic", True),
        ("a heist", True),
        ("heist", False),
        ("heist of the century", False),
        ("for a heist you need a plan, a van and one very tired accountant", False),
        ("a day like any other", False),
        ("fine", False),
        ("?!", False),
    ],
)
def test_an_echo_is_most_of_a_line_that_was_heard(text: str, echo: bool) -> None:
    assert is_echo(text, [plain_line("nice"), plain_line(ASKED)]) == echo


def test_one_word_is_an_echo_of_the_same_word_alone() -> None:
    assert is_echo("GG!", [plain_line("gg")])
    assert not is_echo("gg", [plain_line("gg everyone")])


def test_nothing_heard_is_never_echoed() -> None:
    assert not is_echo(ASKED, [])
