"""The corpus's commands: each opens the database, does one thing and says what it did."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from corpus.settings import Settings
    from corpus.store import Corpus

Channel = Annotated[str | None, typer.Option(help="Only this channel.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `backchat`."""
    app.command("import")(import_logs)
    app.command()(stats)
    app.command()(forget)
    app.command()(optout)
    app.command()(optin)


def import_logs(
    files: Annotated[list[str], typer.Argument(help="Files, folders or patterns.", show_default=False)],
    channel: Annotated[
        str | None, typer.Option(help="The channel, where the log does not say.", show_default=False)
    ] = None,
    timezone: Annotated[str, typer.Option(help="Of times without a zone, e.g. Europe/Berlin.")] = "UTC",
    strict: Annotated[bool, typer.Option(help="Refuse a file with a row that cannot be read.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and report, store nothing.")] = False,
) -> None:
    """Read chat logs of other tools into the corpus; twice does no harm."""
    from corpus.importers.screen import import_all

    settings = _settings()
    corpus = None if dry_run else _open(settings)
    try:
        import_all(files, corpus, channel=channel, timezone=timezone, strict=strict)
    finally:
        if corpus is not None:
            corpus.close()


def stats(channel: Channel = None, as_json: AsJson = False) -> None:
    """Messages, chatters, days, words and emotes of the corpus."""
    from corpus.cleaning import Rules
    from corpus.settings import CleaningTable, CorpusTable
    from corpus.statistics import content_of, sparkline

    settings = _settings()
    rules = Rules.of(settings[CorpusTable], settings[CleaningTable])
    with _open(settings, read_only=True) as corpus:
        channels = corpus.summaries(channel)
        content = content_of(corpus.messages(channel=channel), rules)
        days = {one.channel: corpus.days(one.channel) for one in channels}
        unseen = len(corpus.unseen(channel))
    if as_json:
        report = {
            "channels": [
                {
                    "channel": one.channel, "messages": one.messages, "chatters": one.chatters, "train": one.train,
                    "validation": one.validation, "first_ms": one.first_ms, "last_ms": one.last_ms,
                    "days": dict(days[one.channel]),
                }
                for one in channels
            ],
            "unseen_validation": unseen,
            "learned": content.learned,
            "characters": content.characters,
            "dropped": dict(content.dropped),
            "words": dict(content.words.most_common(50)),
            "emotes": dict(content.emotes.most_common(50)),
        }  # fmt: skip
        typer.echo(json.dumps(report, ensure_ascii=False, indent=2))
        return

    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("channel", title=f"Chat in {_short(corpus.database)}", title_justify="left")
    for heading in ("messages", "chatters", "train", "validation"):
        table.add_column(heading, justify="right")
    table.add_column("from")
    table.add_column("to")
    table.add_column("a day")
    for one in channels:
        table.add_row(
            one.channel, f"{one.messages:,}", f"{one.chatters:,}", f"{one.train:,}", f"{one.validation:,}",
            _day(one.first_ms), _day(one.last_ms), sparkline([count for _, count in days[one.channel]], 30),
        )  # fmt: skip
    console.print(table)
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in content.dropped.most_common()) or "nothing"
    console.print(f"Learned from: {content.learned:,} lines, {content.characters:,} characters. Left out: {left_out}.")
    console.print(f"Unseen validation lines (their text occurs nowhere in training): {unseen:,}.")
    for title, counted in (("Words", content.words), ("Emotes", content.emotes)):
        console.print(
            f"{title}: " + "  ".join(f"{word} {count:,}" for word, count in counted.most_common(12)), highlight=False
        )


def forget(user: Annotated[str, typer.Argument(help="Login name.")], channel: Channel = None) -> None:
    """Remove everything somebody wrote, for ever, and never store them again."""
    with _open(_settings()) as corpus:
        removed = corpus.forget(_login(user), channel)
    typer.echo(f"Removed {removed:,} messages; only a salted hash is left. Models that saw them are to be retrained.")


def optout(user: Annotated[str, typer.Argument(help="Login name.")], channel: Channel = None) -> None:
    """Store nothing of somebody from now on, and learn nothing from what is there."""
    with _open(_settings()) as corpus:
        corpus.opt_out(_login(user), channel)
    typer.echo("Opted out: nothing new is stored, and what is there is not learned from. `backchat forget` removes it.")


def optin(user: Annotated[str, typer.Argument(help="Login name.")], channel: Channel = None) -> None:
    """Take an opt-out back."""
    with _open(_settings()) as corpus:
        corpus.opt_in(_login(user), channel)
    typer.echo("Opted in again.")


def _settings() -> "Settings":
    from corpus.settings import load_settings

    return load_settings()


def _open(settings: "Settings", *, read_only: bool = False) -> "Corpus":
    from corpus.settings import CorpusTable, PathsTable
    from corpus.store import Corpus

    return Corpus.open(settings[PathsTable].database, read_only=read_only, known_bots=settings[CorpusTable].known_bots)


def _login(user: str) -> str:
    return user.strip().lstrip("@").lower()


def _day(at_ms: int | None) -> str:
    return "no times" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
