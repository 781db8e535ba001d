"""Deleted means deleted: from the rows, the search index, the pages of the file and every log yet to be imported."""

from datetime import UTC
from pathlib import Path

import pytest

from corpus.importers.importing import import_file
from corpus.importers.registry import importer_of
from corpus.importers.source import Options, Source
from corpus.message import ChatMessage
from corpus.store import Appended, Corpus

NOON = 1_704_110_400_000
SECRET = "xylophonequark"


def said(number: int, text: str, login: str = "ann", channel: str = "den", user_id: str | None = None) -> ChatMessage:
    return ChatMessage(f"m{number}", channel, login, text, NOON + number * 1000, user_id)


def chat(count: int = 400) -> list[ChatMessage]:
    others = [
        said(number, f"line {number} of {'many ' * (number % 7)}words", f"viewer{number % 9}")
        for number in range(count)
    ]
    hers = [said(count + number, f"{SECRET} number {number}", "secretann") for number in range(50)]
    return others + hers


def on_disk(database: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(database.parent.glob(f"{database.name}*")))


@pytest.mark.parametrize("searched", [True, False])
def test_what_was_forgotten_is_in_no_byte_of_the_database(tmp_path: Path, searched: bool) -> None:
    database = tmp_path / "chat.db"
    with Corpus.open(database) as corpus:
        corpus.append(chat())
        if searched:
            assert corpus.search(SECRET)[0] == 50
        assert SECRET.encode() in on_disk(database)
        assert corpus.forget("SecretAnn") == 50
        assert corpus.search(SECRET) == (0, [])
        assert SECRET.encode() not in on_disk(database)
        assert b"secretann" not in on_disk(database)
    assert SECRET.encode() not in on_disk(database)


def test_a_deleted_message_leaves_the_file_at_the_next_housekeeping(tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    with Corpus.open(database) as corpus:
        corpus.append([*chat(), said(9_999, "wobbegongslip")])
        corpus.search("wobbegongslip")
        corpus.delete_message("m9999")
        assert corpus.search("wobbegongslip") == (0, [])
        corpus.housekeeping(0)
        assert b"wobbegongslip" not in on_disk(database)


def test_a_reader_that_keeps_the_log_open_only_delays_the_scrub(tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    with Corpus.open(database) as corpus, Corpus.open(database, read_only=True) as reader:
        corpus.append(chat())
        reader._db.execute("BEGIN")
        assert reader.count() == 450
        corpus.forget("secretann")
        reader._db.execute("COMMIT")
        corpus.housekeeping(0)
        assert SECRET.encode() not in on_disk(database)


def test_a_forgotten_chatter_is_known_again_by_user_id_after_a_rename(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db", now_ms=lambda: NOON + 10_000) as corpus:
        corpus.append([said(1, "hi", user_id="77")])
        corpus.forget("ann")
        assert corpus.append([said(2, "hi again", login="annabel", user_id="77")]) == Appended(refused=1)


def test_forgetting_one_channel_leaves_the_others(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append([said(1, "here"), said(2, "there", channel="lair")])
        assert corpus.forget("ann", "den") == 1
        assert corpus.append([said(3, "here again"), said(4, "there again", channel="lair")]) == Appended(
            kept=1, refused=1
        )


def test_the_feed_of_removals_tells_models_what_to_unlearn_and_then_forgets_the_ids(tmp_path: Path) -> None:
    now = [NOON]
    with Corpus.open(tmp_path / "chat.db", now_ms=lambda: now[0]) as corpus:
        corpus.append([said(1, "one"), said(2, "two", "bob"), said(3, "three", "cat"), said(4, "four", "dan")])
        seen_row, seen_removal = corpus.last_row(), corpus.last_removal()
        corpus.delete_message("m1")
        corpus.delete_chatter("den", "bob", until_ms=NOON + 60_000)
        corpus.opt_out("cat")
        corpus.forget("dan")
        removals = corpus.removals(seen_removal)
        assert [(one.message_id, one.reason) for one in removals] == [
            ("m1", "deleted"),
            ("m2", "cleared"),
            ("m3", "opted_out"),
            ("m4", "forgotten"),
        ]
        assert all(one.row <= seen_row for one in removals)
        assert corpus.removals(removals[-1].number) == []
        now[0] += 25 * 3600 * 1000
        corpus.housekeeping(0)
        assert [one.message_id for one in corpus.removals()] == [""] * 4


def test_a_timed_out_chatters_older_lines_are_refused_from_logs_and_newer_ones_kept(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append([said(1, "rude"), said(2, "polite", "bob")])
        assert corpus.delete_chatter("den", "ann", until_ms=NOON + 5_000) == 1
        log = tmp_path / "log.jsonl"
        log.write_text(
            "".join(
                f'{{"ts": {NOON + second * 1000}, "channel": "den", "user": "ann", "text": "at {second}"}}\n'
                for second in (1, 4, 6)
            )
        )
        source = Source.of(log)
        assert import_file(corpus, source, importer_of(source), Options(None, UTC)).appended == Appended(
            kept=1, refused=2
        )


def test_a_cleared_room_loses_the_screen_and_not_its_years(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append([said(1, "years ago"), said(100_000, "just now"), said(100_001, "after")])
        assert corpus.clear_channel("den", since_ms=NOON + 99_000_000, until_ms=NOON + 100_000_000) == 1
        assert [stored.message.text for stored in corpus.messages()] == ["years ago", "after"]
        assert corpus.clear_channel("den") == 2


def test_messages_older_than_the_retention_go(tmp_path: Path) -> None:
    day = 24 * 3600 * 1000
    with Corpus.open(tmp_path / "chat.db", now_ms=lambda: NOON + 10 * day) as corpus:
        corpus.append([said(1, "old"), ChatMessage("new", "den", "ann", "new", NOON + 9 * day)])
        assert corpus.housekeeping(keep_days=0) == 0
        assert corpus.housekeeping(keep_days=7) == 1
        assert [stored.message.text for stored in corpus.messages()] == ["new"]


def test_our_own_account_is_never_stored_once_it_is_marked(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db", known_bots=["NightBot"]) as corpus:
        corpus.append([said(1, "beep", "mybot"), said(2, "boop", "nightbot"), said(3, "hi")])
        assert corpus.count() == 2
        assert corpus.mark_bot("MyBot") == 1
        assert corpus.append([said(4, "beep", "mybot")]) == Appended(refused=1)


def test_an_opted_out_chatter_is_found_in_no_answer(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append([said(1, "findme one"), said(2, "findme two", "bob")])
        corpus.opt_out("ann")
        assert [stored.message.login for stored in corpus.search("findme")[1]] == ["bob"]
        assert [message.login for message in corpus.recent("den", 5)] == ["bob"]
        assert corpus.count() == 1
        sides = {stored.row: stored.side for stored in corpus.messages()}
        corpus.opt_in("ann")
        assert {stored.row: stored.side for stored in corpus.messages()}.items() >= sides.items()
        assert corpus.count() == 2


def test_who_opted_out_stays_out_under_another_name_until_they_opt_in(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append([said(1, "hi", user_id="77")])
        corpus.opt_out("ann")
        assert corpus.append([said(2, "renamed", login="annabel", user_id="77")]) == Appended(refused=1)
        corpus.opt_in("annabel", user_id="77")
        assert corpus.append([said(2, "renamed", login="annabel", user_id="77")]) == Appended(kept=1)
        assert corpus.append([said(3, "old name", user_id="77")]) == Appended(kept=1)


def test_who_was_forgotten_may_come_back_by_name_alone(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db", now_ms=lambda: NOON + 10_000) as corpus:
        corpus.append([said(1, "hi", user_id="77")])
        corpus.forget("ann")
        assert corpus.append([said(20, "no", user_id="77")]) == Appended(refused=1)
        corpus.opt_in("ann")
        assert corpus.append([said(20, "back again", user_id="77"), said(1, "hi", user_id="77")]) == Appended(
            kept=1, refused=1
        )


def test_a_time_out_of_one_leaves_the_standing_of_all_others_known(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus, Corpus.open(tmp_path / "chat.db") as other:
        corpus.append([said(1, "hi"), said(2, "hi", "bob"), said(3, "hi", "cat")])
        corpus.opt_out("cat")
        corpus.delete_chatter("den", "bob", until_ms=NOON + 60_000)
        assert corpus.append(
            [said(4, "a"), said(5, "b", "bob"), said(61, "b", "bob"), said(6, "c", "cat")]
        ) == Appended(kept=2, refused=2)
        other.append([said(7, "x")])
        other.opt_out("ann")
        corpus.delete_chatter("den", "dan", until_ms=NOON)
        assert corpus.append([said(8, "y")]) == Appended(refused=1)
