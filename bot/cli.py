"""The `backchat` command: every subcommand, and how an error becomes one sentence and exit code 1.

Loads neither torch nor twitchio itself; a subcommand that needs them imports them when it runs.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from bot import control_cli, run, twitch_cli
from corpus import cli as corpus_cli
from corpus.errors import BackchatError
from corpus.settings import CONFIG_VARIABLE
from trainer import cli as trainer_cli
from trainer import ladder_cli

app = typer.Typer(
    name="backchat",
    help="A live-stream companion that learns from the chat it sits in.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(
    config: Annotated[
        Path | None, typer.Option(help="Settings file; ./config.toml unless given.", show_default=False)
    ] = None,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config)
    if debug:
        os.environ["BACKCHAT_DEBUG"] = "1"


@app.command()
def version() -> None:
    """Print the version of Backchat."""
    from importlib.metadata import version as installed

    typer.echo(f"backchat {installed('backchat')}")


run.register(app)
twitch_cli.register(app)
control_cli.register(app)
trainer_cli.register(app)
corpus_cli.register(app)
ladder_cli.register(app)


def main() -> None:
    """Run a command line; a `BackchatError` ends as its one sentence on stderr and exit code 1."""
    try:
        app()
    except BackchatError as error:
        if os.environ.get("BACKCHAT_DEBUG"):
            raise
        typer.echo(f"backchat: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
