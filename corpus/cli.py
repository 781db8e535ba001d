"""The corpus's commands that change it: each opens the database, does one thing and says what it did."""

from typing import TYPE_CHECKING, Annotated

import typer

from corpus import looking_cli

if TYPE_CHECKING:
    from corpus.settings import Settings
    from corpus.store import Corpus

Channel = Annotated[str | None, typer.Option(help="Only this channel.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands to `backchat`."""
    app.command("import")(import_logs)
    app.command()(forget)
    app.command()(optout)
    app.command()(optin)
    looking_cli.register(app)


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
