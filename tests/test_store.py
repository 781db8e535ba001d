"""The chat database keeps what was said, once, and lets go of what must go."""

from pathlib import Path

import pytest

from corpus.errors import CorpusError
from corpus.message import ChatMessage, Emote
from corpus.split import BLOCK_MS
from corpus.store import Appended, Corpus

NOON = 1_700_000_000_000


def said(
    number: int, text: str = "", login: str = "ann", channel: str = "den", sent_ms: int | None = None
) -> ChatMessage:
    return ChatMessage(
        f"m{number}", channel, login, text or f"line {number}", NOON + number if sent_ms is None else sent_ms
    )


def test_a_message_comes_back_as_it_went_in(tmp_path: Path) -> None:
    message = ChatMessage(
        "m1", "den", "ann", "hi LUL", NOON, "77", "Ann", ("moderator", "vip"), (Emote("425618", 3, 6),), "m0"
    )
    with Corpus.open(tmp_path / "chat.db") as corpus:
        assert corpus.append([message]) == Appended(kept=1)
        (stored,) = corpus.messages()
        assert stored.message == message
        assert corpus.recent("den", 5) == [message]


def test_the_same_message_is_kept_once(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        assert corpus.append([said(1), said(2), said(1)]) == Appended(kept=2, duplicates=1)
        assert corpus.append([said(1)]) == Appended(duplicates=1)
        assert corpus.count() == 2


def test_messages_come_in_the_order_they_were_sent_whatever_order_they_were_stored_in(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append([said(3), said(1)])
        corpus.append([said(2)])
        assert [stored.message.id for stored in corpus.messages()] == ["m1", "m2", "m3"]


def test_a_deleted_message_does_not_come_back(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append([said(1), said(2)])
        assert corpus.delete_message("m1") == 1
        assert corpus.append([said(1)]).kept == 0
        assert [stored.message.id for stored in corpus.messages()] == ["m2"]
        assert [(one.message_id, one.reason) for one in corpus.removals()] == [("m1", "deleted")]


def test_nothing_is_stored_of_somebody_who_opted_out_until_they_opt_in(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append([said(1), said(2, login="bob")])
        corpus.opt_out("Ann")
        assert corpus.is_opted_out("ann", "den")
        assert corpus.append([said(3)]) == Appended(refused=1)
        assert [stored.message.login for stored in corpus.messages()] == ["bob"]
        corpus.opt_in("ann")
        assert corpus.append([said(3)]) == Appended(kept=1)
        assert corpus.count() == 3


def test_a_forgotten_chatter_leaves_no_row_and_no_later_import_brings_them_back(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db", now_ms=lambda: NOON + 1000) as corpus:
        corpus.append([said(1), said(2, login="bob")])
        assert corpus.forget("ann") == 1
        corpus.opt_in("ann")
        assert corpus.append([said(1), said(5)]) == Appended(refused=2)
        assert corpus.append([said(2000)]) == Appended(kept=1)
        assert corpus.retrain_asked_ms() == NOON + 1000


def test_a_young_channel_has_both_sides_within_a_minute(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append([said(second, sent_ms=NOON + second * 1000) for second in range(60)], live=True)
        assert corpus.count(side="validation") == 10
        assert corpus.count(side="train") == 50


def test_an_import_is_split_by_half_hours(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append([said(block, sent_ms=block * BLOCK_MS) for block in range(50)])
        assert corpus.count(side="validation") == 10


def test_two_processes_may_write_one_database(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as first, Corpus.open(tmp_path / "chat.db") as second:
        first.append([said(1)])
        second.append([said(1), said(2)])
        second.opt_out("ann")
        assert first.append([said(3)]) == Appended(refused=1)
        assert first.last_row() == second.last_row()


def test_a_file_that_is_no_database_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "chat.db").write_text("not a database, only words that are long enough to look at" * 10)
    with pytest.raises(CorpusError, match="cannot be opened as a chat database"):
        Corpus.open(tmp_path / "chat.db")


def test_unseen_validation_is_what_training_never_said(tmp_path: Path) -> None:
    train, held = 0, next(block for block in range(5) if _is_held(tmp_path, block))
    if train == held:
        train = 1
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append(
            [
                said(1, "Pasta  PASTA", sent_ms=train * BLOCK_MS),
                said(2, "pasta", sent_ms=held * BLOCK_MS),
                said(3, "new here", sent_ms=held * BLOCK_MS + 1),
            ]
        )
        rows = {stored.row: stored.message.id for stored in corpus.messages()}
        assert [rows[row] for row in corpus.unseen()] == ["m3"]
        corpus.delete_message("m1")
        assert sorted(rows[row] for row in corpus.unseen()) == ["m2", "m3"]


def _is_held(tmp_path: Path, block: int) -> bool:
    with Corpus.open(tmp_path / f"probe{block}.db") as corpus:
        corpus.append([said(block, sent_ms=block * BLOCK_MS)])
        return corpus.count(side="validation") == 1
