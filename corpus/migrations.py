"""The schema of chat.db as numbered migrations, each applied with its record in one transaction."""

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a blank or an older database to the newest schema; costs one lookup where it already is.

    Two processes may try at once: the second waits for the first and finds nothing to do. `connection` is in
    autocommit mode.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == len(STEPS):
        return
    from sqlite_utils import Database, Migrations  # here, because loading it takes longer than most commands run

    migrations = Migrations("corpus")
    for step in STEPS:
        migrations(name=step.__name__.removeprefix("_"))(step)
    connection.execute("BEGIN IMMEDIATE")
    try:
        migrations.apply(Database(connection, execute_plugins=False))
        connection.execute(f"PRAGMA user_version = {len(STEPS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def version_known() -> int:
    """The newest schema this code knows; a database beyond it was written by a newer Backchat."""
    return len(STEPS)


def _0001_messages(db: "Database") -> None:
    """Channels, chatters, messages, removals and who is never stored."""
    db.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID")
    db.execute(
        "INSERT INTO meta VALUES ('salt', randomblob(32)), ('consent', 0), ('indexed', 0), ('retrain_ms', 0),"
        " ('last_row', 0)"
    )
    db.execute("""
        CREATE TABLE channel (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL UNIQUE,
            began_ms INTEGER,              -- first message arrived live; NULL: began with an import
            timeless INTEGER NOT NULL DEFAULT 0,  -- rows without a time so far: their positions
            heard_ms INTEGER,              -- up to here everything that was said has been committed
            online INTEGER                 -- NULL: nobody told us
        )""")
    db.execute("""
        CREATE TABLE chatter (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            login TEXT NOT NULL UNIQUE,
            user_id TEXT,
            display_name TEXT NOT NULL DEFAULT ''
        )""")
    # side: 0 train, 1 validation; + 2 while its author has opted out. text_key: hash of the normalised text.
    # Rows are numbered by meta.last_row: none is used twice, so a checkpoint's "seen up to row N" stays true.
    db.execute("""
        CREATE TABLE message (
            row INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            channel INTEGER NOT NULL,
            chatter INTEGER NOT NULL,
            sent_ms INTEGER,
            side INTEGER NOT NULL,
            text_key INTEGER NOT NULL,
            text TEXT NOT NULL,
            badges TEXT,
            emotes TEXT,
            reply_to TEXT
        )""")
    db.execute("CREATE INDEX message_by_time ON message (channel, sent_ms)")
    db.execute("CREATE INDEX message_by_chatter ON message (chatter)")
    # The normalised texts of training, kept by SQLite itself: what a validation message is "unseen" against.
    db.execute("CREATE INDEX message_trained_text ON message (text_key) WHERE side = 0")
    db.execute("""
        CREATE TABLE removal (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            row INTEGER NOT NULL,
            message_id TEXT,               -- blanked after a day: by then every model has unlearned it
            reason TEXT NOT NULL,
            at_ms INTEGER NOT NULL
        )""")
    # channel 0: every channel. until_ms: nothing sent up to then is stored, whatever log it comes from.
    db.execute("""
        CREATE TABLE standing (
            who BLOB NOT NULL,             -- salted hash of a login or user id
            channel INTEGER NOT NULL,
            opted_out INTEGER NOT NULL DEFAULT 0,
            until_ms INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (who, channel)
        ) WITHOUT ROWID""")
    db.execute("CREATE TABLE deleted_id (id TEXT PRIMARY KEY) WITHOUT ROWID")
    db.execute("""
        CREATE TABLE deleted_content (
            channel INTEGER NOT NULL,
            sent_ms INTEGER NOT NULL,
            what BLOB NOT NULL,            -- salted hash of author and text
            PRIMARY KEY (channel, sent_ms, what)
        ) WITHOUT ROWID""")
    db.execute("""
        CREATE TABLE gap (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            channel INTEGER NOT NULL,
            began_ms INTEGER NOT NULL,
            ended_ms INTEGER NOT NULL
        )""")
    db.execute("CREATE TABLE bot (login TEXT PRIMARY KEY) WITHOUT ROWID")
    db.execute(
        "CREATE VIRTUAL TABLE message_search USING fts5"
        "(text, content='message', content_rowid='row', tokenize='unicode61 remove_diacritics 2')"
    )


def _0002_suppressed(db: "Database") -> None:
    """Salted hashes of what people said who have left, until a model serves that never learned from them."""
    db.execute("CREATE TABLE suppressed (shingle INTEGER PRIMARY KEY, removal INTEGER NOT NULL)")


def _0003_partners(db: "Database") -> None:
    """Login and user id of one person know each other, so that who opts in by one is let in by both."""
    db.execute("ALTER TABLE standing ADD COLUMN partner BLOB")


STEPS = (_0001_messages, _0002_suppressed, _0003_partners)
