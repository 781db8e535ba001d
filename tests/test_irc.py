"""Twitch's IRC dialect: what is rendered is parsed, and no line at all makes the parser raise."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.irc import IrcLine, chat_of, parse_line, render_line
from corpus.link import Endpoint, Link
from corpus.message import ChatMessage, ClearedChatter, ClearedRoom, DeletedMessage, Emote

_word = st.from_regex(r"[A-Za-z0-9_#!@.*-]{1,12}", fullmatch=True).filter(lambda word: not word.startswith(("@", ":")))
_value = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_lines = st.builds(
    IrcLine,
    st.from_regex(r"[A-Z]{1,12}|[0-9]{3}", fullmatch=True),
    st.lists(_word, max_size=4).map(tuple),
    st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=60),
    st.dictionaries(st.from_regex(r"[a-z][a-z-]{0,12}", fullmatch=True), _value, max_size=5),
    st.just("") | _word,
)


@given(_lines)
def test_what_is_rendered_is_parsed(line: IrcLine) -> None:
    assert parse_line(render_line(line)) == line


@given(st.text())
def test_no_text_makes_the_parser_raise(text: str) -> None:
    line = parse_line(text)
    if line is not None:
        chat_of(line)


@given(st.dictionaries(st.sampled_from(["id", "emotes", "tmi-sent-ts", "badges", "ban-duration", "room-id"]), _value))
def test_no_tags_make_a_message_impossible(tags: dict[str, str]) -> None:
    for command in ("PRIVMSG", "CLEARMSG", "CLEARCHAT"):
        said = chat_of(IrcLine(command, ("#den",), "hi", tags, "ann!ann@ann"), fallback_ms=5)
        if isinstance(said, ChatMessage):
            assert all(0 <= emote.start < emote.end <= len(said.text) for emote in said.emotes)


@pytest.mark.parametrize("digits", ["9" * 18, "9" * 5_000, "٣", "-1", ""])
def test_a_number_that_means_nothing_is_none(digits: str) -> None:
    tags = {"id": "a", "tmi-sent-ts": digits, "emotes": f"25:0-{digits},{digits}-1", "ban-duration": digits}
    said = chat_of(IrcLine("PRIVMSG", ("#den",), "hi", tags, "ann!ann@ann"), fallback_ms=5)
    assert isinstance(said, ChatMessage)
    assert (said.sent_ms, said.emotes) == (5, ())
    assert chat_of(IrcLine("CLEARCHAT", ("#den",), "bob", tags), fallback_ms=5) == ClearedChatter("den", "bob", 5)


@given(st.lists(st.binary(max_size=40) | _lines.map(lambda line: f"{render_line(line)}\r\n".encode()), max_size=8))
def test_bytes_give_the_same_lines_however_they_arrive(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    expected = [line.rstrip("\r") for line in whole.decode("utf-8", "replace").split("\n")[:-1]]
    for size in (1, 3, 1000):
        link = Link(Endpoint("127.0.0.1", 1, tls=False), ("den",), now_ms=lambda: 0, chance=random.Random(1))
        read = [line for start in range(0, len(whole), size) for line in link._lines(whole[start : start + size])]
        assert read == expected
        for line in read:
            parsed = parse_line(line)
            if parsed is not None:
                chat_of(parsed)


def test_a_message_has_everything_its_tags_say() -> None:
    line = parse_line(
        "@badges=moderator/1,subscriber/12;display-name=Ann;emotes=25:0-4,9-13/1902:15-19;id=abc;"
        "reply-parent-msg-id=parent;room-id=1;tmi-sent-ts=1594556065407;user-id=7 "
        ":ann!ann@ann.tmi.twitch.tv PRIVMSG #Den :Kappa oh Kappa Keepo"
    )
    assert line is not None
    assert chat_of(line) == ChatMessage(
        "abc",
        "den",
        "ann",
        "Kappa oh Kappa Keepo",
        1594556065407,
        "7",
        "Ann",
        ("moderator", "subscriber"),
        (Emote("25", 0, 5), Emote("25", 9, 14), Emote("1902", 15, 20)),
        "parent",
    )


def test_emotes_of_a_me_line_lie_inside_the_wrapper() -> None:
    line = parse_line("@emotes=25:0-4;id=a :ann!ann@ann PRIVMSG #den :\x01ACTION Kappa hi\x01")
    assert line is not None
    said = chat_of(line)
    assert isinstance(said, ChatMessage)
    assert said.text[said.emotes[0].start : said.emotes[0].end] == "Kappa"


def test_moderation_is_understood() -> None:
    def meaning(text: str) -> object:
        line = parse_line(text)
        return line and chat_of(line, fallback_ms=1)

    assert meaning("@target-msg-id=x;tmi-sent-ts=9 :tmi CLEARMSG #den :text") == DeletedMessage("den", "x", at_ms=9)
    assert meaning("@ban-duration=600;tmi-sent-ts=9 :tmi CLEARCHAT #den :Bob") == ClearedChatter("den", "bob", 9, 600)
    assert meaning("@tmi-sent-ts=9 :tmi CLEARCHAT #den :bob") == ClearedChatter("den", "bob", 9)
    assert meaning(":tmi CLEARCHAT #den") == ClearedRoom("den", 1)
    assert meaning("@room-id=1;source-room-id=2;id=a :ann!a@a PRIVMSG #den :hi") is None
    assert meaning("@room-id=1;source-room-id=1;id=a :ann!a@a PRIVMSG #den :hi") is not None
