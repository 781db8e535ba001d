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
    login = _login(user)
    with _open(_settings()) as corpus:
        removed = corpus.forget(login, _known(corpus, channel))
    if removed:
        typer.echo(
            f"Removed {removed:,} message{'' if removed == 1 else 's'}; only a salted hash is left. "
            "Models that saw them are to be retrained."
        )
    else:
        typer.echo(f"Nothing of {login} is kept, and nothing will be stored.")


def optout(user: Annotated[str, typer.Argument(help="Login name.")], channel: Channel = None) -> None:
    """Store nothing of somebody from now on, and learn nothing from what is there."""
    login = _login(user)
    with _open(_settings()) as corpus:
        corpus.opt_out(login, _known(corpus, channel))
    typer.echo("Opted out: nothing new is stored, and what is there is not learned from. `backchat forget` removes it.")


def optin(user: Annotated[str, typer.Argument(help="Login name.")], channel: Channel = None) -> None:
    """Take an opt-out back."""
    login = _login(user)
    with _open(_settings()) as corpus:
        corpus.opt_in(login, _known(corpus, channel))
    typer.echo("Opted in again.")


def _settings() -> "Settings":
    from corpus.settings import load_settings

    return load_settings()


def _open(settings: "Settings", *, read_only: bool = False) -> "Corpus":
    from corpus.settings import CorpusTable, PathsTable
    from corpus.store import Corpus

    return Corpus.open(settings[PathsTable].database, read_only=read_only, known_bots=settings[CorpusTable].known_bots)


def _known(corpus: "Corpus", channel: str | None) -> str | None:
    """The channel as the database knows it: a misspelt one must not look like done."""
    looking_cli.refuse_unknown(corpus, channel)
    return looking_cli.channel_name(channel)


def _login(user: str) -> str:
    from corpus.errors import CorpusError

    login = user.strip().lstrip("@").strip().lower()
    if not login:
        raise CorpusError(f"{user!r} is nobody; write the login name as it stands in the channel's address")
    return login
