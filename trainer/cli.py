"""The trainer's commands: train once while you watch, look at a checkpoint, let it speak, ask what comes next."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from corpus.settings import Settings
    from trainer.asking import Report

Which = Annotated[str | None, typer.Argument(help="Folder, run, or name as in LATEST; the serving one unless given.")]
Part = Annotated[
    Literal["gpt", "ngram", "mixture"] | None,
    typer.Option("--model", help="Which memory; the one that speaks unless given.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `backchat`."""
    app.command()(train)
    app.command()(sample)
    app.command("eval")(evaluate)
    app.command("next")(next_tokens)


def train(
    minutes: Annotated[float | None, typer.Option(help="Instead of \\[trainer] minutes.", min=0.01)] = None,
    init_from: Annotated[
        str | None, typer.Option(help="Go on from this checkpoint, keeping its tokenizer.", show_default=False)
    ] = None,
) -> None:
    """Train once on the corpus, now, and show how it goes. Ctrl-C stops it; the best checkpoint is kept."""
    from trainer.train_once import train_once

    train_once(minutes, init_from)


def sample(
    checkpoint: Which = None,
    prompt: Annotated[str, typer.Option(help="How every line begins.")] = "",
    count: Annotated[int, typer.Option(help="How many lines.", min=1, max=1000)] = 10,
    model: Part = None,
    temperature: Annotated[
        float | None, typer.Option(help="Instead of \\[sampling] temperature.", min=0, max=5)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed says the same.", show_default=False)] = None,
) -> None:
    """Let a checkpoint speak. Unfiltered: what the bot says passes its safety gate, this does not."""
    from trainer.asking import find_checkpoint, load_models, say_lines
    from trainer.sample import Choice
    from trainer.settings import SamplingTable

    settings = _settings()
    sampling = settings[SamplingTable]
    chosen = sampling if temperature is None else sampling.model_copy(update={"temperature": temperature})
    loaded = load_models(find_checkpoint(checkpoint, _checkpoints(settings)))
    for line in say_lines(loaded, model, prompt, count, Choice(**chosen.model_dump()), seed):
        typer.echo(line)


def evaluate(
    checkpoint: Which = None,
    data: Annotated[
        Path | None, typer.Option(help="A log file instead of the corpus's validation messages.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The losses of a checkpoint, of each memory and both together, on all and on unseen messages."""
    from rich.console import Console

    from corpus.cleaning import Rules
    from corpus.settings import CleaningTable, CorpusTable, PathsTable
    from corpus.store import Corpus
    from trainer.asking import evaluate_on_corpus, evaluate_on_file, find_checkpoint, load_models

    settings = _settings()
    rules = Rules.of(settings[CorpusTable], settings[CleaningTable])
    loaded = load_models(find_checkpoint(checkpoint, _checkpoints(settings)))
    database = settings[PathsTable].database
    if data is None:
        with Corpus.open(database, read_only=True) as corpus:
            report = evaluate_on_corpus(loaded, corpus, rules)
    elif database.is_file():
        with Corpus.open(database, read_only=True) as corpus:
            report = evaluate_on_file(loaded, data, corpus, rules)
    else:
        report = evaluate_on_file(loaded, data, None, rules)
    if as_json:
        from dataclasses import asdict

        typer.echo(json.dumps({"checkpoint": loaded.checkpoint.name, **asdict(report)}))
    else:
        Console().print(_losses_table(loaded.checkpoint.name, report))


def next_tokens(
    words: Annotated[list[str], typer.Argument(help="How the line begins.", show_default=False)],
    count: Annotated[int, typer.Option(help="How many tokens.", min=1, max=100)] = 10,
    checkpoint: Annotated[str | None, typer.Option(help="The serving one unless given.", show_default=False)] = None,
) -> None:
    """What would be said next, with its chance by each memory."""
    from rich.console import Console
    from rich.table import Table

    from trainer.asking import find_checkpoint, load_models, next_chances

    settings = _settings()
    loaded = load_models(find_checkpoint(checkpoint, _checkpoints(settings)))
    table = Table("next", *loaded.models, title=f"{' '.join(words)} …", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for token, chances in next_chances(loaded, " ".join(words), count):
        table.add_row(_visible(token), *(f"{100 * chance:.1f} %" for chance in chances))
    Console().print(table)


def _visible(token: str) -> "Text":
    """A token with its spaces and control characters to be seen, and nothing in it taken for markup."""
    from rich.text import Text

    seen = "".join(each if each.isprintable() else repr(each)[1:-1] for each in token)
    return Text(seen.replace(" ", "␣"))


def _losses_table(name: str, report: "Report") -> "Table":
    from rich.table import Table

    table = Table(title=name, title_justify="left")
    for column in ("model", "nats a token", "bits a character", "… of unseen messages"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for model, loss in report.losses.items():
        unseen = loss.unseen_bits_per_character
        table.add_row(
            model,
            f"{loss.nats_per_token:.4f}",
            f"{loss.bits_per_character:.4f}",
            "" if unseen is None else f"{unseen:.4f}",
        )
    table.caption = f"{report.lines:,} messages, {report.unseen:,} of them unseen; {report.tokens:,} tokens"
    table.caption_justify = "left"
    return table


def _settings() -> "Settings":
    from corpus.settings import CORPUS_TABLES, load_settings
    from trainer.settings import TRAINER_TABLES

    return load_settings((*CORPUS_TABLES, *TRAINER_TABLES))


def _checkpoints(settings: "Settings") -> Path:
    from corpus.settings import PathsTable

    return settings[PathsTable].checkpoints
