"""The trainer's commands: train once while you watch, look at a checkpoint, let it speak, ask what comes next."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands to `backchat`."""
    app.command()(train)


def train(
    minutes: Annotated[float | None, typer.Option(help="Instead of [trainer] minutes.", min=0.01)] = None,
    init_from: Annotated[
        Path | None, typer.Option(help="Go on from this checkpoint, keeping its tokenizer.", show_default=False)
    ] = None,
) -> None:
    """Train once on the corpus, now, and show how it goes. Ctrl-C stops it; the best checkpoint is kept."""
    from trainer.train_once import train_once

    train_once(minutes, init_from)
