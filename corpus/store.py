"""The chat database: append, delete, forget, opt-out, iterate, count, search. The only SQL in the project.

One SQLite file in WAL mode, safe for several processes. `synchronous=NORMAL` syncs at checkpoints only: a committed
message survives kill -9 of any process, because the operating system holds what was written; a power cut may cost the
last moments, never the file.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from corpus import migrations
from corpus.consent import identity_hash
from corpus.errors import CorpusError
from corpus.message import ChatMessage
from corpus.records import (
    Appended,
    ChannelSummary,
    Gap,
    Packed,
    Reason,
    Removal,
    StoredMessage,
    emotes_from_text,
    pack,
)
from corpus.shingles import Shingle, Shingler
from corpus.split import BLOCK_MS, Side, side_of
from corpus.textkey import text_key

__all__ = ["Appended", "ChannelSummary", "Corpus", "Gap", "Removal", "StoredMessage"]

BUSY_TIMEOUT_MS = 30_000
CACHE_KIB = 32 * 1024
WAL_PAGES = 4_000  # 16 MiB of log before it is copied into the file: a page written often is copied, and synced, once
CHUNK = 5_000
PAGE = 5_000
CHATTERS_KEPT = 200_000  # logins kept in memory; beyond it the cache starts anew
CHANNELS_KEPT = 1_000
SAME_MS = 2_000  # two tools stamp one message up to this far apart
WINDOW_MS = 10_000
CHECKPOINT_WAIT_MS = 1_000
SEARCH_CHUNK = 20_000
REMOVAL_ID_MS = 24 * 3600 * 1000
DAY_MS = 24 * 3600 * 1000
CLEARED_MS = 60 * 60 * 1000  # `/clear` empties the screen: an hour of messages, not the years before
MADE_ID = "~"  # how ids begin that an importer made from the content

_SIDES: tuple[Side, Side] = ("train", "validation")
_WITHHELD = 2  # added to the side of a message while its author has opted out
_SIDES_WITHHELD = (_WITHHELD, _WITHHELD + 1)
_QUARANTINED = 4  # added to the side of a message that resembles a line which a moderator took back
_EVERYWHERE = 0


@dataclass(slots=True)
class _Channel:
    id: int
    name: str
    began_ms: int | None
    timeless: int
    timeless_stored: int
    empty: bool
    chatters: dict[str, "_Chatter"]


@dataclass(slots=True)
class _Chatter:
    """What an append needs to know of a login in a channel. `until_ms`: nothing older is stored; -1: everything is."""

    id: int
    display_name: str
    refused: bool
    until_ms: int


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


# row, id, channel, chatter, sent_ms, side, text_key, text, badges, emotes, reply_to
_Row = tuple[int, str, int, int, int | None, int, int, str, str | None, str | None, str | None]


class Corpus:
    """The chat database. A context manager; several threads may share one, several processes may open one each."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        database: Path,
        *,
        known_bots: Iterable[str] = (),
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self.database = database
        self._db = connection
        self._now_ms = now_ms
        self._lock = threading.RLock()
        self._settings_bots = frozenset(name.lower() for name in known_bots)
        self._bots = self._settings_bots
        self._channels: dict[str, _Channel] = {}
        self._chatters_cached = 0
        self._last_row = 0
        self._scrub_due = False
        self._search_scrub_due = False
        self._data_version = -1
        self._consent_version = -1
        self._salt: bytes = self._meta("salt")
        connection.create_function("content_hash", 2, self._content_hash, deterministic=True)

    @classmethod
    def open(
        cls,
        database: Path,
        *,
        read_only: bool = False,
        known_bots: Iterable[str] = (),
        now_ms: Callable[[], int] = _now_ms,
    ) -> Self:
        """Open or create a database. `known_bots` are refused by `append`. Raises `CorpusError`."""
        if read_only and not database.is_file():
            raise CorpusError(
                f"{database}: no chat has been kept yet; run `backchat import FILE` or `backchat run` first"
            )
        try:
            if read_only:
                connection = sqlite3.connect(
                    f"{database.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
                )
            else:
                database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if not database.exists():
                    database.touch(mode=0o600)  # SQLite gives its other files the same
                connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > migrations.version_known():
                raise CorpusError(f"{database}: written by a newer Backchat (schema {version}); upgrade this one")
            if read_only and version < migrations.version_known():
                connection.close()
                cls.open(database).close()
                return cls.open(database, read_only=True, known_bots=known_bots, now_ms=now_ms)
            if not read_only:
                _begin_wal(connection)
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
                migrations.migrate(connection)
            return cls(connection, database, known_bots=known_bots, now_ms=now_ms)
        except (sqlite3.Error, OSError) as error:
            raise CorpusError(
                f"{database}: cannot be opened as a chat database ({error}); "
                "check the path and its permissions, or move the file away to start anew"
            ) from error

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- writing -----------------------------------------------------------------------------------------------

    def append(self, messages: Iterable[ChatMessage], *, live: bool = False) -> Appended:
        """Store messages in one transaction; those already there, by id, are left alone.

        `live`: they come from a chat service right now. A channel whose first rows arrive live is young for a while
        (see `split`). Raises `CorpusError` with nothing stored.
        """
        return self.append_packed(map(pack, messages), live=live)

    def append_packed(
        self, messages: Iterable[Packed], *, live: bool = False, other_tools_until: int | None = None
    ) -> Appended:
        """As `append`, for messages that are packed already.

        Rows up to number `other_tools_until` may be the same messages as another tool logged them: by author, text
        and about the same time they are known again, where at least one of the two has no id of the chat service.
        """
        kept = total = refused = 0
        pending = iter(messages)
        with self._writing():
            while chunk := list(islice(pending, CHUNK)):
                total += len(chunk)
                rows = self._rows(chunk, live)
                refused += len(chunk) - len(rows)
                if other_tools_until:
                    known, gone = self._known(rows, other_tools_until)
                    refused += len(gone)
                    rows = [row for row in rows if row[1] not in known and row[1] not in gone]
                inserted, deleted = self._insert(rows)
                kept += inserted - deleted
                refused += deleted
                if len(self._channels) > CHANNELS_KEPT:
                    self._note_timeless()
                    self._channels.clear()
                    self._chatters_cached = 0
            self._note_timeless()
        return Appended(kept=kept, duplicates=total - kept - refused, refused=refused)

    def _note_timeless(self) -> None:
        """Store how many rows without a time each channel has by now."""
        for channel in self._channels.values():
            if channel.timeless != channel.timeless_stored:
                channel.timeless_stored = channel.timeless
                self._db.execute("UPDATE channel SET timeless = ? WHERE id = ?", (channel.timeless, channel.id))

    def _rows(self, messages: Sequence[Packed], live: bool) -> list[_Row]:
        """The rows to insert, each with its new number: without whom nothing is stored of."""
        rows: list[_Row] = []
        channels, bots = self._channels, self._bots
        number = self._last_row
        channel: _Channel | None = None
        block, block_side = -1, False  # most messages are of the same half-hour as the one before
        for message_id, name, login, text, sent_ms, key, user_id, display_name, badges, emotes, reply_to in messages:
            if login in bots:
                continue
            if channel is None or channel.name != name:
                channel = channels.get(name) or self._channel(name)
                block = -1
            chatter = channel.chatters.get(login) or self._chatter(channel, login, user_id, display_name)
            if chatter.refused or (chatter.until_ms and (sent_ms is None or sent_ms <= chatter.until_ms)):
                continue
            if display_name and display_name != chatter.display_name:
                self._rename(chatter, display_name)
            if channel.empty:
                self._begin(channel, sent_ms if live else None)
            if sent_ms is None or channel.began_ms is not None:
                side = side_of(name, sent_ms, position=channel.timeless, began_ms=channel.began_ms) != "train"
                channel.timeless += sent_ms is None
            else:
                if sent_ms // BLOCK_MS != block:
                    block = sent_ms // BLOCK_MS
                    block_side = side_of(name, sent_ms) != "train"
                side = block_side
            number += 1
            rows.append(
                (
                    number,
                    message_id,
                    channel.id,
                    chatter.id,
                    sent_ms,
                    side,
                    key,
                    text,
                    badges,
                    emotes,
                    reply_to,
                )
            )
        self._last_row = number
        return rows

    def _insert(self, rows: Sequence[_Row]) -> tuple[int, int]:
        """How many were new, and how many of those had been deleted before: they do not come back."""
        if not rows:
            return 0, 0
        inserted = self._db.executemany(
            "INSERT OR IGNORE INTO message"
            " (row, id, channel, chatter, sent_ms, side, text_key, text, badges, emotes, reply_to)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        ).rowcount
        deleted = 0
        if self._db.execute("SELECT 1 FROM deleted_id LIMIT 1").fetchone():
            deleted = self._db.execute(
                "DELETE FROM message"
                " WHERE row >= ? AND EXISTS (SELECT 1 FROM deleted_id WHERE deleted_id.id = message.id)",
                (rows[0][0],),
            ).rowcount
        self._db.execute("UPDATE meta SET value = ? WHERE name = 'last_row'", (self._last_row,))
        return inserted, deleted

    def _known(self, rows: Sequence[_Row], until_row: int) -> tuple[set[str], set[str]]:
        """The ids of rows that other tools brought before, and of rows that were deleted then."""
        known: set[str] = set()
        gone: set[str] = set()
        for channel, low, high, those in _windows(rows):
            span = (channel, low - SAME_MS, high + SAME_MS)
            there = self._db.execute(
                "SELECT chatter, text_key, sent_ms, id FROM message"
                " WHERE channel = ? AND sent_ms BETWEEN ? AND ? AND row <= ?",
                (*span, until_row),
            ).fetchall()
            if there:
                known |= _same_messages(those, there)
            removed = self._db.execute(
                "SELECT sent_ms, what FROM deleted_content WHERE channel = ? AND sent_ms BETWEEN ? AND ?", span
            ).fetchall()
            for at_ms, what in removed:
                gone.update(
                    row[1]
                    for row in those
                    if abs((row[4] or 0) - at_ms) <= SAME_MS and self._content_hash(row[3], row[6]) == what
                )
        return known, gone - known

    def _channel(self, name: str) -> _Channel:
        self._db.execute("INSERT OR IGNORE INTO channel (name) VALUES (?)", (name,))
        number, began_ms, timeless = self._db.execute(
            "SELECT id, began_ms, timeless FROM channel WHERE name = ?", (name,)
        ).fetchone()
        empty = self._db.execute("SELECT 1 FROM message WHERE channel = ? LIMIT 1", (number,)).fetchone() is None
        channel = _Channel(number, name, began_ms, timeless, timeless, empty, {})
        self._channels[name] = channel
        return channel

    def _begin(self, channel: _Channel, began_ms: int | None) -> None:
        channel.empty = False
        if began_ms is not None and channel.began_ms is None:
            channel.began_ms = began_ms
            self._db.execute("UPDATE channel SET began_ms = ? WHERE id = ?", (began_ms, channel.id))

    def _chatter(self, channel: _Channel, login: str, user_id: str | None, display_name: str) -> _Chatter:
        if self._chatters_cached >= CHATTERS_KEPT:
            for known in self._channels.values():
                known.chatters.clear()
            self._chatters_cached = 0
        opted_out, until_ms = self._standing(login, channel.id, user_id)
        if opted_out:
            found = (0, "")
        else:
            self._db.execute(
                "INSERT INTO chatter (login, user_id, display_name) VALUES (?1, ?2, ?3)"
                " ON CONFLICT (login) DO UPDATE SET user_id = coalesce(?2, user_id)",
                (login, user_id, display_name),
            )
            found = self._db.execute("SELECT id, display_name FROM chatter WHERE login = ?", (login,)).fetchone()
        chatter = _Chatter(found[0], found[1], opted_out, until_ms)
        channel.chatters[login] = chatter
        self._chatters_cached += 1
        return chatter

    def _rename(self, chatter: _Chatter, display_name: str) -> None:
        chatter.display_name = display_name
        self._db.execute("UPDATE chatter SET display_name = ? WHERE id = ?", (display_name, chatter.id))

    def _standing(self, login: str, channel_id: int, user_id: str | None = None) -> tuple[bool, int]:
        """Whether somebody has opted out, and up to when nothing of theirs is stored."""
        who = self._identities(login, user_id)
        opted_out, until_ms = self._db.execute(
            "SELECT coalesce(max(opted_out), 0), coalesce(max(until_ms), 0) FROM standing"
            f" WHERE who IN ({','.join('?' * len(who))}) AND channel IN (?, ?)",
            (*who, _EVERYWHERE, channel_id),
        ).fetchone()
        return bool(opted_out), until_ms

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several writes as one: all of them are committed at the end, or none."""
        with self._writing():
            yield

    def heard(self, channels: Mapping[str, int]) -> None:
        """Up to these times everything said in these channels has been stored: what a gap is measured from."""
        with self._writing():
            self._db.executemany(
                "UPDATE channel SET heard_ms = max(coalesce(heard_ms, 0), ?) WHERE id = ?",
                [(at_ms, self._channel_id(name)) for name, at_ms in channels.items()],
            )

    def listening(self, channel: str, at_ms: int) -> Gap | None:
        """A collector listens to a channel from now on. Returns, and records, the gap since anybody last did."""
        with self._writing():
            number = self._channel_id(channel)
            (heard_ms,) = self._db.execute("SELECT heard_ms FROM channel WHERE id = ?", (number,)).fetchone()
            self._db.execute(
                "UPDATE channel SET heard_ms = max(coalesce(heard_ms, 0), ?) WHERE id = ?", (at_ms, number)
            )
            if heard_ms is None or heard_ms >= at_ms:
                return None
            self._db.execute(
                "INSERT INTO gap (channel, began_ms, ended_ms) VALUES (?, ?, ?)", (number, heard_ms, at_ms)
            )
            return Gap(channel, heard_ms, at_ms)

    def gaps(self, channel: str | None = None) -> list[Gap]:
        """The stretches in which nobody listened, oldest first."""
        with self._lock:
            return [
                Gap(*row)
                for row in self._db.execute(
                    "SELECT name, gap.began_ms, ended_ms FROM gap JOIN channel ON channel.id = gap.channel"
                    " WHERE ?1 IS NULL OR name = ?1 ORDER BY gap.began_ms",
                    (channel,),
                )
            ]

    def set_online(self, channel: str, online: bool | None) -> None:
        """Whether a channel streams right now, from whoever knows; None when nobody does."""
        with self._writing():
            self._db.execute("UPDATE channel SET online = ? WHERE id = ?", (online, self._channel_id(channel)))

    def offline_channels(self) -> frozenset[str]:
        """The channels known not to stream right now."""
        with self._lock:
            return frozenset(name for (name,) in self._db.execute("SELECT name FROM channel WHERE online = 0"))

    def housekeeping(self, keep_days: int) -> int:
        """What is due now and then: retention, and blanking old message ids in the feed of removals."""
        with self._writing():
            self._db.execute(
                "UPDATE removal SET message_id = NULL WHERE message_id IS NOT NULL AND at_ms < ?",
                (self._now_ms() - REMOVAL_ID_MS,),
            )
        expired = self.expire(keep_days)
        self.scrub()
        return expired

    # ---- taking away -------------------------------------------------------------------------------------------

    def delete_message(self, message_id: str) -> int:
        """A moderator deleted one message: it goes, and no later import brings it back."""
        with self._writing():
            self._db.execute("INSERT OR IGNORE INTO deleted_id (id) VALUES (?)", (message_id,))
            return self._remove("id = ?", (message_id,), "deleted", for_good=True)

    def delete_text(self, channel: str, login: str, text: str, at_ms: int | None) -> int:
        """As `delete_message`, where a log tells the author and the text only: their last such message goes."""
        with self._writing():
            number = self._channel_id(channel)
            found = self._db.execute(
                "SELECT id FROM message WHERE channel = ? AND chatter = (SELECT id FROM chatter WHERE login = ?)"
                " AND text_key = ? AND coalesce(sent_ms, 0) <= ? ORDER BY sent_ms DESC, row DESC LIMIT 1",
                (number, login, text_key(text), 1 << 62 if at_ms is None else at_ms),
            ).fetchone()
            return self.delete_message(found[0]) if found else 0

    def delete_chatter(self, channel: str, login: str, *, until_ms: int | None = None) -> int:
        """A chatter was timed out or banned: everything they wrote there up to then goes and stays away."""
        until_ms = self._now_ms() if until_ms is None else until_ms
        with self._writing():
            number = self._channel_id(channel)
            self._refuse(login, number, until_ms=until_ms)
            return self._remove(
                "channel = ? AND chatter = (SELECT id FROM chatter WHERE login = ?) AND coalesce(sent_ms, 0) <= ?",
                (number, login, until_ms),
                "cleared",
            )

    def clear_channel(self, channel: str, *, since_ms: int | None = None, until_ms: int | None = None) -> int:
        """A moderator cleared the chat: everything there goes, or what was sent from `since_ms` to `until_ms`."""
        with self._writing():
            return self._remove(
                "channel = ? AND coalesce(sent_ms, 0) BETWEEN ? AND ?",
                (self._channel_id(channel), since_ms or 0, self._now_ms() + DAY_MS if until_ms is None else until_ms),
                "cleared",
                for_good=True,
            )

    def opt_out(self, login: str, channel: str | None = None, *, user_id: str | None = None) -> None:
        """From now on nothing of theirs is stored, and what is there is not learned from until they opt in again.

        `user_id` is the service's; with it they stay opted out under another name.
        """
        login = login.lower()
        with self._writing():
            number = _EVERYWHERE if channel is None else self._channel_id(channel)
            self._refuse(login, number, opted_out=True, user_id=user_id or self._user_id(login))
            where, values = self._whose(login, number)
            shingles = self._shingles(where, values)
            self._note_removals(f"{where} AND side < {_WITHHELD}", values, "opted_out")
            self._suppress(shingles)
            self._db.execute(
                f"UPDATE message SET side = side + {_WITHHELD} WHERE {where} AND side < {_WITHHELD}", values
            )

    def opt_in(self, login: str, channel: str | None = None, *, user_id: str | None = None) -> None:
        """Take an opt-out back. What was forgotten stays forgotten."""
        login = login.lower()
        with self._writing():
            number = _EVERYWHERE if channel is None else self._channel_id(channel)
            who = self._identities(login, user_id or self._user_id(login))
            marks = ",".join("?" * len(who))
            self._db.execute(
                f"UPDATE standing SET opted_out = 0 WHERE channel = ? AND (who IN ({marks}) OR partner IN ({marks}))",
                (number, *who, *who),
            )
            self._bump_consent()
            where, values = self._whose(login, number)
            for (found,) in self._db.execute(
                f"SELECT DISTINCT channel FROM message WHERE {where} AND side IN {_SIDES_WITHHELD}", values
            ).fetchall():
                if not self._standing(login, found)[0]:
                    self._db.execute(
                        f"UPDATE message SET side = side - {_WITHHELD}"
                        f" WHERE {where} AND channel = ? AND side IN {_SIDES_WITHHELD}",
                        (*values, found),
                    )

    def is_opted_out(self, login: str, channel: str) -> bool:
        """Whether this chatter's messages are left out of this channel."""
        with self._lock:
            found = self._db.execute("SELECT id FROM channel WHERE name = ?", (channel,)).fetchone()
            return self._standing(login.lower(), found[0] if found else _EVERYWHERE)[0]

    def forget(self, login: str, channel: str | None = None, *, user_id: str | None = None) -> int:
        """Take away everything somebody wrote, for ever; a salted hash is all that stays.

        They are opted out too, so that nothing new is stored either. The text leaves the search index and the free
        pages of the file before this returns, and a retrain is asked for. Returns the number of messages removed.
        """
        login = login.lower()
        with self._writing():
            number = _EVERYWHERE if channel is None else self._channel_id(channel)
            now_ms = self._now_ms()
            user_id = user_id or self._user_id(login)
            self._refuse(login, number, opted_out=True, until_ms=now_ms, user_id=user_id)
            where, values = self._whose(login, number)
            shingles = self._shingles(where, values)
            removed = self._remove(where, values, "forgotten")
            self._suppress(shingles)
            self._db.execute(
                "DELETE FROM chatter WHERE login = ?1"
                " AND NOT EXISTS (SELECT 1 FROM message WHERE message.chatter = chatter.id)",
                (login,),
            )
            if removed:
                self._db.execute("UPDATE meta SET value = ? WHERE name = 'retrain_ms'", (now_ms,))
        if not self._db.in_transaction:
            self.scrub()
        return removed

    def withhold(self, rows: Iterable[int]) -> int:
        """Leave these messages out of all that is learned from now on; models unlearn them. Returns how many."""
        with self._writing():
            withheld = 0
            for row in rows:
                self._note_removals(f"row = ? AND side < {_WITHHELD}", (row,), "quarantined")
                withheld += self._db.execute(
                    f"UPDATE message SET side = side + {_QUARANTINED} WHERE row = ? AND side < {_WITHHELD}", (row,)
                ).rowcount
            return withheld

    @property
    def shingler(self) -> Shingler:
        """Makes the hashes that `suppressed` holds."""
        return Shingler(self._salt)

    def suppressed(self) -> dict[Shingle, int]:
        """Hashes of what people said who have left, and the removal number at which they did.

        A model that followed the feed of removals up to that number knows nothing of it any more.
        """
        with self._lock:
            return dict(self._db.execute("SELECT shingle, removal FROM suppressed").fetchall())

    def end_suppression(self, removal: int) -> int:
        """A model that has followed the feed of removals up to here serves now: drop what it cannot know."""
        with self._writing():
            return self._db.execute("DELETE FROM suppressed WHERE removal <= ?", (removal,)).rowcount

    def _shingles(self, where: str, values: Sequence[Any]) -> set[Shingle]:
        shingler = self.shingler
        texts = self._db.execute(f"SELECT text FROM message WHERE {where}", tuple(values))
        return {shingle for (text,) in texts for shingle in shingler.shingles(text)}

    def _suppress(self, shingles: Iterable[Shingle]) -> None:
        removal = self.last_removal()
        self._db.executemany(
            "INSERT INTO suppressed (shingle, removal) VALUES (?1, ?2)"
            " ON CONFLICT (shingle) DO UPDATE SET removal = ?2",
            ((shingle, removal) for shingle in shingles),
        )

    def mark_bot(self, login: str) -> int:
        """An account of ours or another bot: its messages go and are refused from now on. Returns how many went."""
        login = login.lower()
        with self._writing():
            self._db.execute("INSERT OR IGNORE INTO bot (login) VALUES (?)", (login,))
            self._bump_consent()
            where, values = self._whose(login, _EVERYWHERE)
            return self._remove(where, values, "bot")

    def scrub(self) -> bool:
        """Let removed text leave the search index, the free pages and the write-ahead log.

        SQLite overwrites what is deleted in the file itself (`secure_delete`); what is left are the search index's
        older segments, rewritten here, and the log, emptied here. False when a reader kept the log open: then the
        next housekeeping tries again.
        """
        if not self._scrub_due:
            return True
        with self._writing():
            if self._search_scrub_due:
                self._db.execute("INSERT INTO message_search (message_search) VALUES ('optimize')")
        with self._lock, _mapped(self.database):
            self._search_scrub_due = False
            self._db.execute(f"PRAGMA busy_timeout = {CHECKPOINT_WAIT_MS}")
            (busy, _, _) = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            self._scrub_due = bool(busy)
        return not busy

    def expire(self, keep_days: int) -> int:
        """Retention: messages older than this go. Models need not unlearn them, so the feed stays quiet."""
        if keep_days <= 0:
            return 0
        with self._writing():
            expired = self._remove("sent_ms < ?", (self._now_ms() - keep_days * DAY_MS,), None)
            if expired:  # names are kept no longer than what they said
                self._db.execute(
                    "DELETE FROM chatter WHERE NOT EXISTS (SELECT 1 FROM message WHERE message.chatter = chatter.id)"
                )
                self._bump_consent()
            return expired

    def _whose(self, login: str, channel_id: int) -> tuple[str, tuple[Any, ...]]:
        where = "chatter = (SELECT id FROM chatter WHERE login = ?)"
        return (where, (login,)) if channel_id == _EVERYWHERE else (f"{where} AND channel = ?", (login, channel_id))

    def _user_id(self, login: str) -> str | None:
        found = self._db.execute("SELECT user_id FROM chatter WHERE login = ?", (login,)).fetchone()
        return found[0] if found else None

    def _identities(self, login: str, user_id: str | None) -> list[bytes]:
        """By what somebody is known in `standing`."""
        who = [identity_hash(self._salt, "login", login)]
        return [*who, identity_hash(self._salt, "user", user_id)] if user_id else who

    def _refuse(
        self, login: str, channel_id: int, *, opted_out: bool = False, until_ms: int = 0, user_id: str | None = None
    ) -> None:
        who = self._identities(login.lower(), user_id)
        partners = who[::-1] if len(who) > 1 else [None]
        self._db.executemany(
            "INSERT INTO standing (who, channel, opted_out, until_ms, partner) VALUES (?1, ?2, ?3, ?4, ?5)"
            " ON CONFLICT (who, channel) DO UPDATE"
            " SET opted_out = max(opted_out, ?3), until_ms = max(until_ms, ?4), partner = coalesce(?5, partner)",
            [(one, channel_id, int(opted_out), until_ms, other) for one, other in zip(who, partners, strict=True)],
        )
        self._bump_consent(None if user_id else login.lower())

    def _remove(self, where: str, values: Sequence[Any], reason: Reason | None, *, for_good: bool = False) -> int:
        """Delete messages from the table, the search index and, `for_good`, from every log yet to be imported."""
        if for_good:
            self._db.execute(
                "INSERT OR IGNORE INTO deleted_content (channel, sent_ms, what)"
                f" SELECT channel, sent_ms, content_hash(chatter, text_key) FROM message WHERE {where}"
                " AND sent_ms IS NOT NULL",
                tuple(values),
            )
        if reason is not None:
            self._note_removals(where, values, reason)
        searchable = self._db.execute(
            "INSERT INTO message_search (message_search, rowid, text) SELECT 'delete', row, text FROM message"
            f" WHERE {where} AND row <= (SELECT value FROM meta WHERE name = 'indexed')",
            tuple(values),
        ).rowcount
        removed = self._db.execute(f"DELETE FROM message WHERE {where}", tuple(values)).rowcount
        self._search_scrub_due |= searchable > 0
        self._scrub_due |= removed > 0
        return removed

    def _content_hash(self, chatter: int, key: int) -> bytes:
        return identity_hash(self._salt, "content", str(chatter), str(key))

    def _note_removals(self, where: str, values: Sequence[Any], reason: Reason) -> None:
        self._db.execute(
            f"INSERT INTO removal (row, message_id, reason, at_ms) SELECT row, id, ?, ? FROM message WHERE {where}",
            (reason, self._now_ms(), *values),
        )

    # ---- reading -----------------------------------------------------------------------------------------------

    def messages(
        self, *, after_row: int = 0, channel: str | None = None, side: Side | None = None
    ) -> Iterator[StoredMessage]:
        """Every message that may be learned from, channel by channel in the order they were sent.

        Read in pages, so that no lock is held while the caller thinks; a message deleted meanwhile may not come.
        """
        for number, name in self._channel_names(channel):
            place: tuple[int, int] = (-1 << 62, 0)
            while page := self._page(number, after_row, side, place):
                for row, side_found, *columns in page:
                    yield StoredMessage(row, _message(name, *columns), _SIDES[side_found])
                last = page[-1]
                place = (-1 << 62 if last[5] is None else last[5], last[0])

    def _page(self, channel_id: int, after_row: int, side: Side | None, place: tuple[int, int]) -> list[Any]:
        sides = (0, 1) if side is None else (_SIDES.index(side),) * 2
        # Rows without a time come first, in the order they were stored.
        timed = place[0] != -1 << 62
        condition = "(sent_ms, row) > (?, ?)" if timed else "sent_ms IS NULL AND row > ?"
        values = place if timed else place[1:]
        with self._lock:
            found = self._db.execute(
                "SELECT row, side, message.id, login, text, sent_ms, user_id, display_name, badges, emotes, reply_to"
                " FROM message JOIN chatter ON chatter.id = message.chatter"
                f" WHERE channel = ? AND {condition} AND row > ? AND side IN (?, ?)"
                f" ORDER BY sent_ms, row LIMIT {PAGE}",
                (channel_id, *values, after_row, *sides),
            ).fetchall()
        if not found and not timed:
            return self._page(channel_id, after_row, side, ((-1 << 62) + 1, 0))
        return found

    def recent(self, channel: str, count: int) -> list[ChatMessage]:
        """The last messages of a channel, oldest first."""
        with self._lock:
            found = self._db.execute(
                "SELECT message.id, login, text, sent_ms, user_id, display_name, badges, emotes, reply_to FROM message"
                " JOIN chatter ON chatter.id = message.chatter"
                f" WHERE channel = (SELECT id FROM channel WHERE name = ?) AND side < {_WITHHELD}"
                " ORDER BY sent_ms DESC, row DESC LIMIT ?",
                (channel, count),
            ).fetchall()
        return [_message(channel, *columns) for columns in reversed(found)]

    def search(self, words: str, *, channel: str | None = None, limit: int = 20) -> tuple[int, list[StoredMessage]]:
        """How many messages contain all the words, and the newest of them. `word*` finds what begins so.

        The index of words catches up first: nobody pays for it while chat is collected or imported.
        """
        quoted = [
            '"' + word.rstrip("*").replace('"', '""') + '"' + ("*" if word.endswith("*") else "")
            for word in words.split()
            if word.strip("*")
        ]
        if not quoted:
            return 0, []
        while self._index_some():
            continue
        condition = "message_search MATCH ?1 AND side < ?2 AND (?3 IS NULL OR channel.name = ?3)"
        tables = (
            " FROM message_search JOIN message ON message.row = message_search.rowid"
            " JOIN channel ON channel.id = message.channel JOIN chatter ON chatter.id = message.chatter"
        )
        values = (" ".join(quoted), _WITHHELD, channel)
        with self._lock, _mapped(self.database):
            (found,) = self._db.execute(f"SELECT count(*) {tables} WHERE {condition}", values).fetchone()
            rows = self._db.execute(
                "SELECT row, side, channel.name, message.id, login, message.text, sent_ms, user_id, display_name,"
                f" badges, emotes, reply_to {tables} WHERE {condition} ORDER BY sent_ms DESC, row DESC LIMIT ?4",
                (*values, limit),
            ).fetchall()
        return found, [StoredMessage(row, _message(*columns), _SIDES[side]) for row, side, *columns in rows]

    def _index_some(self) -> bool:
        """Bring the next rows into the search index; False when none were left. Short, so that others may write."""
        with self._writing():
            indexed = self._meta("indexed")
            if indexed >= self._last_row:
                return False
            upto = min(indexed + SEARCH_CHUNK, self._last_row)
            self._db.execute(
                "INSERT INTO message_search (rowid, text) SELECT row, text FROM message WHERE row > ? AND row <= ?",
                (indexed, upto),
            )
            self._db.execute("UPDATE meta SET value = ? WHERE name = 'indexed'", (upto,))
        return True

    def unseen(self, channel: str | None = None) -> set[int]:
        """The rows of validation messages whose normalised text occurs nowhere in training."""
        numbers = [number for number, _ in self._channel_names(channel)]
        rows: set[int] = set()
        with self._lock:
            for number in numbers:
                rows.update(
                    row
                    for (row,) in self._db.execute(
                        "SELECT row FROM message AS held WHERE channel = ? AND side = 1 AND NOT EXISTS"
                        " (SELECT 1 FROM message WHERE side = 0 AND text_key = held.text_key)",
                        (number,),
                    )
                )
        return rows

    def removals(self, after: int = 0) -> list[Removal]:
        """What was taken away since removal number `after`, oldest first."""
        with self._lock:
            return [
                Removal(number, row, message_id or "", reason)
                for number, row, message_id, reason in self._db.execute(
                    "SELECT number, row, message_id, reason FROM removal WHERE number > ? ORDER BY number", (after,)
                )
            ]

    def count(self, channel: str | None = None, side: Side | None = None, after_row: int = 0) -> int:
        """How many messages may be learned from."""
        sides = (0, 1) if side is None else (_SIDES.index(side),) * 2
        where = "side IN (?, ?) AND row > ?"
        values: list[int | str] = [*sides, after_row]
        if channel is not None:
            where += " AND channel = (SELECT id FROM channel WHERE name = ?)"
            values.append(channel)
        with self._lock:
            return int(self._db.execute(f"SELECT count(*) FROM message WHERE {where}", values).fetchone()[0])

    def last_row(self) -> int:
        """The newest row ever stored, removed ones included: it only grows."""
        with self._lock:
            return int(self._meta("last_row"))

    def last_removal(self) -> int:
        """The number of the newest removal, 0 before any."""
        with self._lock:
            found = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'removal'").fetchone()
        return int(found[0]) if found else 0

    def retrain_asked_ms(self) -> int:
        """When somebody was last forgotten: a network trained before then is to be replaced. 0: never."""
        with self._lock:
            return int(self._meta("retrain_ms"))

    def summaries(self, channel: str | None = None) -> list[ChannelSummary]:
        """Every channel, or one, in figures."""
        with self._lock:
            return [
                ChannelSummary(*row)
                for row in self._db.execute(
                    "SELECT name, count(*), count(DISTINCT chatter), sum(side = 0), sum(side = 1), sum(side > 1),"
                    " count(*) - count(DISTINCT text_key), min(sent_ms), max(sent_ms)"
                    " FROM message JOIN channel ON channel.id = message.channel"
                    " WHERE ?1 IS NULL OR name = ?1 GROUP BY channel.id ORDER BY count(*) DESC",
                    (channel,),
                )
            ]

    def days(self, channel: str) -> list[tuple[str, int]]:
        """Messages a day (UTC) of a channel, silent days included; rows without a time are not counted."""
        with self._lock:
            found = self._db.execute(
                f"SELECT sent_ms / {DAY_MS} AS day, count(*) FROM message"
                " WHERE channel = (SELECT id FROM channel WHERE name = ?) AND sent_ms IS NOT NULL GROUP BY day",
                (channel,),
            ).fetchall()
        counted = dict(found)
        if not counted:
            return []
        return [
            (time.strftime("%Y-%m-%d", time.gmtime(day * DAY_MS // 1000)), counted.get(day, 0))
            for day in range(min(counted), max(counted) + 1)
        ]

    def channels(self) -> list[str]:
        """The channels there are, by name."""
        return [name for _, name in self._channel_names(None)]

    # ---- machinery ---------------------------------------------------------------------------------------------

    def _channel_names(self, channel: str | None) -> list[tuple[int, str]]:
        with self._lock:
            return self._db.execute(
                "SELECT id, name FROM channel WHERE ?1 IS NULL OR name = ?1 ORDER BY name", (channel,)
            ).fetchall()

    def _channel_id(self, name: str) -> int:
        return (self._channels.get(name) or self._channel(name)).id

    def _meta(self, name: str) -> Any:
        return self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0]

    def _bump_consent(self, login: str | None = None) -> None:
        """Tell every process that somebody's standing has changed. Here only `login` is looked up anew."""
        self._db.execute("UPDATE meta SET value = value + 1 WHERE name = 'consent'")
        if login is None or self._consent_version < 0:
            self._forget_caches()
            return
        self._consent_version = self._meta("consent")
        for channel in self._channels.values():
            channel.chatters.pop(login, None)

    def _forget_caches(self) -> None:
        self._channels.clear()
        self._chatters_cached = 0
        self._consent_version = -1

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One write transaction: all of it or nothing, and what other processes changed is seen."""
        with self._lock, _mapped(self.database):
            if self._db.in_transaction:  # part of a larger one, which commits or takes back all of it
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._refresh()
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._take_back()
                raise

    def _take_back(self) -> None:
        self._forget_caches()  # they may name channels and chatters that were never committed
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _refresh(self) -> None:
        """Number rows from where the last left off, and see what another process has written meanwhile."""
        self._last_row = self._meta("last_row")
        (data_version,) = self._db.execute("PRAGMA data_version").fetchone()
        if data_version == self._data_version and self._consent_version >= 0:
            return
        self._data_version = data_version
        consent = self._meta("consent")
        if consent != self._consent_version:
            self._forget_caches()
            self._consent_version = consent
            marked = self._db.execute("SELECT login FROM bot").fetchall()
            self._bots = self._settings_bots | {login for (login,) in marked}
        else:
            for channel in list(self._channels.values()):
                began_ms, timeless = self._db.execute(
                    "SELECT began_ms, timeless FROM channel WHERE id = ?", (channel.id,)
                ).fetchone()
                channel.began_ms, channel.timeless, channel.timeless_stored = began_ms, timeless, timeless


def _message(
    channel: str,
    message_id: str,
    login: str,
    text: str,
    sent_ms: int | None,
    user_id: str | None,
    display_name: str,
    badges: str | None,
    emotes: str | None,
    reply_to: str | None,
) -> ChatMessage:
    return ChatMessage(
        message_id,
        channel,
        login,
        text,
        sent_ms,
        user_id,
        display_name,
        tuple(badges.split(",")) if badges else (),
        emotes_from_text(emotes) if emotes else (),
        reply_to,
    )


def _windows(rows: Sequence[_Row]) -> Iterator[tuple[int, int, int, list[_Row]]]:
    """Rows with a time by channel and stretch: no two neighbours of a stretch further apart than WINDOW_MS."""
    timed = sorted((row for row in rows if row[4] is not None), key=lambda row: (row[2], row[4]))
    start = 0
    for place in range(1, len(timed) + 1):
        if (
            place == len(timed)
            or timed[place][2] != timed[start][2]
            or (timed[place][4] or 0) - (timed[place - 1][4] or 0) > WINDOW_MS
        ):
            yield timed[start][2], timed[start][4] or 0, timed[place - 1][4] or 0, timed[start:place]
            start = place


def _same_messages(rows: Sequence[_Row], there: Sequence[tuple[int, int, int, str]]) -> set[str]:
    """The ids of `rows` that are messages already `there`, each of which answers for one only."""
    ids = {message_id for *_, message_id in there}
    candidates: dict[tuple[int, int], list[tuple[int, str]]] = {}
    given = {row[1] for row in rows}
    for chatter, key, sent_ms, message_id in there:
        if message_id not in given:
            candidates.setdefault((chatter, key), []).append((sent_ms, message_id))
    same = ids & given
    for row in rows:
        made = row[1].startswith(MADE_ID)
        those = candidates.get((row[3], row[6]))
        if row[1] in same or not those:
            continue
        for place, (sent_ms, message_id) in enumerate(those):
            if abs(sent_ms - (row[4] or 0)) <= SAME_MS and (made or message_id.startswith(MADE_ID)):
                same.add(row[1])
                del those[place]
                break
    return same


@contextmanager
def _mapped(database: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise CorpusError(
            f"{database}: the database refused ({error}); check free disk space and whether another program holds it"
        ) from error


def _begin_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL once. Two processes creating one database race for it, and SQLite does not wait there."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
