"""Of several generated lines the lively one is tried first, and an empty one never."""

from dataclasses import dataclass

from bot.replies import preferred
from corpus.message import ChatMessage


@dataclass(frozen=True)
class Made:
    text: str
    nats_per_token: float


def heard(*texts: str) -> list[ChatMessage]:
    return [ChatMessage(id=str(at), channel="here", login="ann", text=text) for at, text in enumerate(texts)]


def test_an_empty_line_is_never_a_reply() -> None:
    assert preferred([Made("", 1.0), Made("   ", 0.5)], []) == []


def test_the_surest_line_comes_first_and_twins_count_once() -> None:
    made = [Made("what a play", 2.0), Made("no way he did", 1.5), Made("what  a play", 1.0)]
    assert preferred(made, []) == ["what a play", "no way he did"]


def test_echoes_single_words_and_stutter_come_last() -> None:
    made = [Made("Gg!", 0.1), Made("that was close", 0.2), Made("lol lol lol lol lol lol", 0.3), Made("I saw it", 3.0)]
    assert preferred(made, heard("That was close!!", "gg", "who saw that"))[0] == "I saw it"
    assert preferred(made, heard("That was close!!", "gg", "who saw that"))[-1] == "Gg!"


def test_a_piece_of_the_question_is_no_answer_and_there_may_be_none_at_all() -> None:
    parroted = [Made("what a fine day for a heist", 0.1), Made("kchat, what a fine day for a heist", 0.2)]
    asked = heard("nice", "hello backchat, what a fine day for a heist")
    assert preferred(parroted, asked) == []
    assert preferred([*parroted, Made("no", 9.0)], asked) == ["no"]


def test_a_line_that_takes_up_what_was_asked_is_worth_a_little_doubt() -> None:
    made = [Made("i like the moon", 1.0), Made("the soup is too loud", 1.8), Made("soup for the moon", 3.0)]
    assert preferred(made, heard("what do you think of the soup")) == [
        "the soup is too loud",
        "i like the moon",
        "soup for the moon",
    ]


def test_emotes_alone_are_something_when_there_is_nothing_else() -> None:
    assert preferred([Made(":)", 1.0)], []) == [":)"]


def test_the_prompt_alone_is_no_reply() -> None:
    assert preferred([Made("the best game is", 0.1), Made("the best game is chess", 2.0)], [], "The best game is") == [
        "the best game is chess"
    ]


def test_a_line_with_a_gap_where_a_link_stood_comes_last() -> None:
    assert preferred([Made("look at this - [link]", 0.1), Made("what a play", 2.0)], [])[0] == "what a play"
