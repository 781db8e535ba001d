"""What an operator sees of the corpus: statistics, search, export and cleaning, each also as JSON."""

import gzip
import json
import random
from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from bot.cli import app
from corpus.cleaning import STEPS, Dropped, Rules, clean_text
from corpus.cleaning_shown import acting, show_cleaning
from corpus.importers.importing import import_file
from corpus.importers.registry import importer_of
from corpus.importers.source import Options, Source
from corpus.message import ChatMessage, Emote
from corpus.statistics import content_of, is_one_thing_over_and_over
from corpus.store import Corpus

NOON = 1_704_110_400_000


def said(number: int, text: str, login: str = "ann", channel: str = "den") -> ChatMessage:
    return ChatMessage(f"m{number}", channel, login, text, NOON + number * 1000)


CHAT = [
    said(1, "hello stream PogChamp"),
    said(2, "hello stream PogChamp", "bob"),
    said(3, "!uptime", "bob"),
    said(4, "look at https://example.com/x now", "cat"),
    said(5, "\x01ACTION waves\x01", "cat"),
    said(6, "hi  there \U000e0000", "ann"),
    said(7, "call +49 151 2345678", "dan"),
    said(8, "GO GO GO GO GO GO GO", "dan"),
    said(9, "streaming elsewhere", "eve", "lair"),
]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BACKCHAT_PATHS__DATA", str(tmp_path))
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append(CHAT)
    return tmp_path


def backchat(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def as_json(*words: str) -> object:
    result = backchat(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_stats_count_each_channel(kept: Path) -> None:
    told = as_json("stats")
    den, lair = told["channels"]  # type: ignore[index]
    assert (den["channel"], lair["channel"]) == ("den", "lair")
    assert (den["messages"], den["chatters"], den["duplicates"], den["learned"]) == (8, 4, 1, 7)
    assert den["train"] + den["validation"] == 8
    assert den["days"] == {"2024-01-01": 8}
    assert den["dropped"] == {"command": 1}
    assert den["replaced"] == {"link": 1, "phone": 1}
    assert den["spam"] == {"commands": 1, "links": 1, "repeats": 1}
    assert den["emotes"] == {"PogChamp": 2}
    assert den["words"]["hello"] == 2
    assert backchat("stats", "--channel", "#Lair").output.startswith("#lair")


def test_stats_in_a_terminal_name_what_they_count(kept: Path) -> None:
    told = backchat("stats").output
    for words in (
        "#den",
        "#lair",
        "8 by 4 chatters",
        "1 (12%)",
        "1 × [link]",
        "of those unseen in training",
        "PogChamp",
    ):
        assert words in told, words


def test_an_emote_that_the_service_names_is_counted_once_however_it_is_written() -> None:
    with_emotes = ChatMessage(
        "e", "den", "ann", "Kappa lul PogChamp", NOON, None, "", (), (Emote("25", 0, 5), Emote("9", 6, 9))
    )
    from corpus.records import StoredMessage

    content = content_of([StoredMessage(1, with_emotes, "train")], Rules())
    assert dict(content.emotes) == {"Kappa": 1, "lul": 1, "PogChamp": 1}
    assert not content.words


@pytest.mark.parametrize(
    ("text", "spam"),
    [("GO GO GO GO GO GO", True), ("aaaaaaaaaaaa", True), ("no no no", False), ("a longer line of chat", False)],
)
def test_a_line_of_one_thing_over_and_over_is_told_from_a_line(text: str, spam: bool) -> None:
    assert is_one_thing_over_and_over(text) is spam


def test_search_finds_all_the_words_newest_first(kept: Path) -> None:
    told = as_json("search", "hello", "stream")
    assert told["found"] == 2  # type: ignore[index]
    assert [one["user"] for one in told["messages"]] == ["bob", "ann"]  # type: ignore[index]
    assert as_json("search", "stream*")["found"] == 3  # type: ignore[index]
    assert "2 messages found, the newest 1 shown." in backchat("search", "hello", "--limit", "1").output
    assert "No message says nothing of it." in backchat("search", "nothing", "of", "it").output


@pytest.mark.parametrize("words", ['"', "NEAR(", "a OR b", "^x", "-x", "col:x", "*", "'; DROP TABLE message; --"])
def test_no_words_at_all_break_the_search(kept: Path, words: str) -> None:
    result = backchat("search", "--json", "--", words)
    assert result.exit_code == 0, result.output
    assert isinstance(json.loads(result.output)["found"], int)


def test_a_channel_that_is_not_there_is_named_with_those_that_are(kept: Path) -> None:
    for command in (["stats"], ["search", "x"], ["clean"], ["export", str(kept / "out.jsonl")]):
        result = backchat(*command, "--channel", "nope")
        assert result.exit_code != 0
        assert "there are den, lair" in str(result.exception)
    assert not (kept / "out.jsonl").exists()


def test_nothing_is_made_where_nothing_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKCHAT_PATHS__DATA", str(tmp_path / "data"))
    for command in (["stats"], ["search", "x"], ["clean"], ["export", str(tmp_path / "out.jsonl")]):
        assert "no chat has been kept yet" in str(backchat(*command).exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["chat.jsonl", "chat.jsonl.gz"])
def test_what_is_exported_is_imported_again_as_it_was(kept: Path, name: str) -> None:
    rich = ChatMessage(
        "m99", "den", "zoe", "hé LUL 👋", NOON + 123, "7", "Zoë", ("moderator", "vip"), (Emote("25", 3, 6),), "m1"
    )
    timeless = ChatMessage("~t", "den", "zoe", "when?")
    with Corpus.open(kept / "chat.db") as corpus:
        corpus.append([rich, timeless])
        corpus.delete_message("m1")
        corpus.opt_out("dan")
        before = [stored.message for stored in corpus.messages()]
    file = kept / name
    assert as_json("export", str(file)) == {"file": str(file), "messages": len(before)}
    text = gzip.decompress(file.read_bytes()) if name.endswith("gz") else file.read_bytes()
    assert b"+49" not in text and b'm1"' not in text.replace(b'"reply_to": "m1"', b"")
    with Corpus.open(kept / "other.db") as other:
        source = Source.of(file)
        import_file(other, source, importer_of(source), Options(None, UTC))
        assert [stored.message for stored in other.messages()] == before


def test_an_export_that_cannot_be_written_leaves_nothing_behind(kept: Path) -> None:
    result = backchat("export", str(kept / "missing" / "out.jsonl"))
    assert "cannot be written" in str(result.exception)
    assert sorted(one.name for one in kept.iterdir() if not one.name.startswith("chat.db")) == []


def test_cleaning_is_shown_rule_by_rule_with_rows_before_and_after(kept: Path) -> None:
    told = as_json("clean", "--show", "2", "--channel", "den")
    rules = {one["rule"]: one for one in told["rules"]}  # type: ignore[index]
    assert set(rules) == {"command", "link", "/me", "invisible", "spaces", "phone"}
    assert rules["command"]["examples"] == [{"before": "!uptime", "after": None}]
    assert rules["link"]["examples"] == [{"before": "look at https://example.com/x now", "after": "look at [link] now"}]
    assert told["untouched"] == 3  # type: ignore[index]
    shown = backchat("clean").output
    assert "left out" in shown and "⟨E0000⟩" in shown and "\x01" not in shown


def test_each_row_of_a_rule_is_as_likely_to_be_shown_as_any_other() -> None:
    from corpus.records import StoredMessage

    rows = [StoredMessage(number, said(number, f"!x{number}"), "train") for number in range(100)]
    seen = set()
    for seed in range(60):
        (rule,) = show_cleaning(rows, Rules(), 5, random.Random(seed)).rules
        assert (rule.rows, len(rule.examples)) == (100, 5)
        seen |= {before for before, _ in rule.examples}
    assert len(seen) > 80


@given(st.text(max_size=80) | st.from_regex(r"[a-z@.:/+0-9 \x01]{0,60}", fullmatch=True))
def test_the_rules_one_by_one_are_what_cleaning_does(text: str) -> None:
    cleaned = clean_text(text)
    if isinstance(cleaned, Dropped):
        return
    step_by_step = text
    for step in STEPS:
        step_by_step = step.apply(step_by_step)
    assert step_by_step == cleaned
    assert acting(text) or cleaned == text
