"""How fast and in how much memory each log format is imported, beside `sqlite-utils insert` for JSON lines.

python benchmarks/imports.py [--rows 1000000] [--other-rows 200000]
"""

import argparse
import datetime
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.made_chat import lines
from benchmarks.measured import machine, measured

Line = tuple[int, str, str]


def stamp(at_ms: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC)


def downloaded(rows: Iterator[Line]) -> Iterator[str]:
    yield '{"streamer":{"login":"den"},"comments":['
    for number, (at_ms, login, text) in enumerate(rows):
        comment = {
            "_id": f"{number:08x}-0000",
            "created_at": stamp(at_ms).isoformat(),
            "content_offset_seconds": number,
            "commenter": {"display_name": login, "_id": login, "name": login},
            "message": {"body": text, "fragments": [{"text": text, "emoticon": None}], "user_badges": []},
        }
        yield ("," if number else "") + json.dumps(comment)
    yield "]}"


FORMATS: dict[str, Callable[[Iterator[Line]], Iterator[str]]] = {
    "TwitchDownloader JSON": downloaded,
    "raw IRC": lambda rows: (
        f"@badges=subscriber/3;color=#FF0000;display-name={login};emotes=;id={number:08x}-{at_ms:x};room-id=1;"
        f"subscriber=1;tmi-sent-ts={at_ms};user-id={len(login)}{login[7:]} :{login}!{login}@{login}.tmi.twitch.tv "
        f"PRIVMSG #den :{text}\n"
        for number, (at_ms, login, text) in enumerate(rows)
    ),
    "rustlog text": lambda rows: (
        f"[{stamp(at_ms):%Y-%m-%d %H:%M:%S}] #den {login}: {text}\n" for at_ms, login, text in rows
    ),
    "Chatterino": lambda rows: (
        line
        for number, (at_ms, login, text) in enumerate(rows)
        for line in (
            *([f"# Start logging at {stamp(at_ms):%Y-%m-%d %H:%M:%S} UTC\n"] if number % 100_000 == 0 else []),
            f"[{stamp(at_ms):%H:%M:%S}] {login}: {text}\n",
        )
    ),
    "Chatty": lambda rows: (f"[{stamp(at_ms):%Y-%m-%d %H:%M:%S}] <{login}> {text}\n" for at_ms, login, text in rows),
    "tcd": lambda rows: (
        f"[{number // 3600}:{number // 60 % 60:02}:{number % 60:02}] <{login}> {text}\n"
        for number, (_, login, text) in enumerate(rows)
    ),
    "CSV": lambda rows: (
        line
        for number, (at_ms, login, text) in enumerate(rows)
        for line in (*(["time,channel,user,text\n"] if number == 0 else []), f'{at_ms},den,{login},"{text}"\n')
    ),
    "plain text": lambda rows: (f"{login}: {text}\n" for _, login, text in rows),
}

SQLITE_UTILS = """
import json, sys
from sqlite_utils import Database
rows = (json.loads(line) for line in open(sys.argv[1], encoding="utf-8"))
Database(sys.argv[2])["message"].insert_all(rows, hash_id="id", ignore=True, batch_size=1000)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of JSON lines")
    parser.add_argument("--other-rows", type=int, default=200_000, help="rows of each other format; 0 leaves them out")
    options = parser.parse_args()
    table = Table("log", title="Imports", title_justify="left")
    for heading in ("rows", "rows/s", "wall s", "CPU s", "peak MiB"):
        table.add_column(heading, justify="right")

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)

        def row(name: str, rows: int, arguments: list[str]) -> None:
            environ = {"BACKCHAT_PATHS__DATA": str(place / name.replace(" ", "-").replace("/", "-"))}
            took = measured(arguments, environ)
            table.add_row(
                name,
                f"{rows:,}",
                f"{rows / took.wall_s:,.0f}",
                f"{took.wall_s:.1f}",
                f"{took.cpu_s:.1f}",
                f"{took.peak_mib:.0f}",
            )

        for rows in (options.rows // 4, options.rows):
            log = place / "chat.jsonl"
            with log.open("w", encoding="utf-8") as file:
                for at_ms, login, text in lines(rows):
                    file.write(
                        json.dumps({"ts": stamp(at_ms).isoformat(), "channel": "den", "user": login, "text": text})
                        + "\n"
                    )
            row(f"JSONL, {rows:,}", rows, ["-m", "bot.cli", "import", str(log)])
        again = place / f"JSONL,-{options.rows:,}"
        again.rename(place / "JSONL,-again-(nothing-new)")
        row("JSONL, again (nothing new)", options.rows, ["-m", "bot.cli", "import", str(log)])
        row(
            "sqlite-utils insert_all (no cleaning, split, dedupe)",
            options.rows,
            ["-c", SQLITE_UTILS, str(log), str(place / "other.db")],
        )
        log.unlink()
        for name, write in FORMATS.items() if options.other_rows else ():
            log = place / f"{name}.log"
            with log.open("w", encoding="utf-8") as file:
                file.writelines(write(lines(options.other_rows)))
            row(name, options.other_rows, ["-m", "bot.cli", "import", str(log), "--channel", "den"])
            log.unlink()
    Console().print(table)
    Console().print(machine())


if __name__ == "__main__":
    main()
