"""`backchat ladder`, `report` and `lr-find`. Loads torch only when one of them runs."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from corpus.errors import TrainingError
from corpus.settings import CORPUS_TABLES, CleaningTable, CorpusTable, PathsTable, Settings, load_settings
from trainer.settings import TRAINER_TABLES, ModelTable, TrainerTable

if TYPE_CHECKING:
    from trainer.ladder_data import LadderData

Level = Literal["char", "word", "bpe", "gpt2"]
DEFAULT_MINUTES = 10.0


def register(app: typer.Typer) -> None:
    """Add this module's commands to the `backchat` command."""
    app.command()(ladder)
    app.command()(report)
    app.command(name="lr-find")(lr_find)


def ladder(
    data: Annotated[
        Path | None,
        typer.Option(help="A chat log or a plain .txt; the channel's own chat unless given.", show_default=False),
    ] = None,
    level: Annotated[
        Level | None, typer.Option(help="Tokens: char for a text, \\[model] tokenizer for chat.", show_default=False)
    ] = None,
    rungs: Annotated[str, typer.Option(help="Names of rungs, comma-separated; all of them unless given.")] = "",
    minutes: Annotated[float, typer.Option(min=0.01, help="How long the whole ladder may take.")] = DEFAULT_MINUTES,
    seed: Annotated[int | None, typer.Option(help="\\[trainer] seed unless given.", show_default=False)] = None,
    documents: Annotated[
        Literal["lines", "whole"], typer.Option(help="A text's lines as documents of their own, split 80/10/10.")
    ] = "whole",
    split: Annotated[
        Literal["ordered", "shuffled"] | None,
        typer.Option(help="ordered: a text's last tenth validates; shuffled: lines at random.", show_default=False),
    ] = None,
    full_size: Annotated[
        bool, typer.Option(help="The scaled-up rung at the lectures' 10.8 M parameters without a GPU too.")
    ] = False,
    first_steps: Annotated[
        int, typer.Option(help="Break the lectures' networks off after so many of their steps; 0: never.", min=0)
    ] = 0,
    anew: Annotated[bool, typer.Option(help="Begin anew instead of going on with a ladder broken off.")] = False,
) -> None:
    """Train every rung on your own chat, from counting bigrams to the GPT, and write a report page."""
    from rich.console import Console
    from rich.live import Live

    from trainer.device import choose_device
    from trainer.ladder import LadderPlan, RungResult, Underway, climb, open_ladder
    from trainer.ladder_table import ladder_line, ladder_table
    from trainer.machine import measure, stand_back, use_threads
    from trainer.run_report import write_report
    from trainer.rungs import choose_rungs

    if split is not None and (split == "ordered") == (documents == "lines"):
        raise TrainingError(f"--split {split} does not go with --documents {documents}; leave one of them out")
    settings = load_settings((*CORPUS_TABLES, *TRAINER_TABLES))
    table = settings[TrainerTable]
    seed = table.seed if seed is None else seed
    console = Console()
    chosen = choose_rungs(rungs)
    stand_back(table.nice)
    machine = measure(choose_device(table.device), use_threads(table.threads))
    with console.status("reading"):
        learned_from = _read(data, level, documents, seed, settings)
    chosen = tuple(rung for rung in chosen if rung.fits(learned_from))
    plan = LadderPlan(
        data=learned_from.name,
        level=learned_from.level,
        vocab_size=learned_from.vocab_size,
        train_tokens=learned_from.train.tokens,
        validation_tokens=learned_from.validation.tokens,
        rungs=tuple(rung.name for rung in chosen),
        minutes=minutes,
        seed=seed,
        device=machine.device.type,
        full_size=full_size,
        first_steps=first_steps,
    )
    folder = open_ladder(settings[PathsTable].checkpoints, plan, _now_ms(), anew=anew)
    title = (
        f"{learned_from.name}, {learned_from.level}: {learned_from.train.tokens:,} tokens to learn from, "
        f"{learned_from.validation.tokens:,} to be judged by, {learned_from.vocab_size:,} kinds"
    )
    results: list[RungResult] = []
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:

        def show(climbed: "list[RungResult]", underway: Underway | None) -> None:
            if console.is_terminal:
                live.update(ladder_table(title, chosen, climbed, underway, width=console.width), refresh=True)
            elif underway is None:
                console.print(ladder_line(climbed[-1]), highlight=False, markup=False, soft_wrap=True)

        try:
            results = climb(
                learned_from,
                chosen,
                folder=folder,
                seconds=60 * minutes,
                seed=seed,
                machine=machine,
                model=settings[ModelTable],
                full_size=full_size,
                first_steps=first_steps,
                now_ms=_now_ms,
                show=show,
            )
        except KeyboardInterrupt:
            live.stop()
            typer.echo("Broken off. The same command goes on behind the last finished rung.", err=True)
            raise typer.Exit(130) from None
        if console.is_terminal:
            live.update(ladder_table(title, chosen, results, None, width=console.width), refresh=True)
    if not console.is_terminal:
        console.print(ladder_table(title, chosen, results, None, width=console.width))
    console.print(f"The report: {write_report(folder)}", highlight=False, markup=False, soft_wrap=True)


def report(
    run: Annotated[str, typer.Argument(help="A run below checkpoints/, its path, or latest.")] = "latest",
) -> None:
    """Write report.html for a run: curves, pictures and samples on one page that needs no network."""
    from trainer.run_report import find_run, write_report

    settings = load_settings((*CORPUS_TABLES, *TRAINER_TABLES))
    typer.echo(f"The report: {write_report(find_run(settings[PathsTable].checkpoints, run))}")


def lr_find(
    data: Annotated[
        Path | None,
        typer.Option(help="A chat log or a plain .txt; the channel's own chat unless given.", show_default=False),
    ] = None,
    level: Annotated[
        Level | None, typer.Option(help="Tokens: char for a text, \\[model] tokenizer for chat.", show_default=False)
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="How long the run is that is planned for.", min=0.01, show_default=False)
    ] = None,
    steps: Annotated[int, typer.Option(help="How many rates are tried.", min=10)] = 150,
) -> None:
    """Find how fast the production GPT may learn: raise its rates at every step until it blows up."""
    from rich.console import Console

    from trainer.device import choose_device
    from trainer.lr_find import find_share
    from trainer.machine import measure, use_threads
    from trainer.optim import Rates
    from trainer.pictures import range_test
    from trainer.run_report import write_range
    from trainer.rungs import Task
    from trainer.rungs.production import planned

    settings = load_settings((*CORPUS_TABLES, *TRAINER_TABLES))
    table = settings[TrainerTable]
    console = Console()
    with console.status("reading") as status:
        machine = measure(choose_device(table.device), use_threads(table.threads))
        learned_from = _read(data, level, "whole", table.seed, settings)
        status.update("raising the rate")
        seconds = 60 * (minutes or table.minutes)
        task = Task(learned_from, machine, settings[ModelTable], steps, seconds, table.seed)
        tokens = learned_from.train.stream()
        model, plan = planned(task, len(tokens))
        rates = Rates()
        found = find_share(model, tokens, rates, batch_size=plan.batch_size, steps=steps, seed=table.seed)
    typer.echo(plan.sentence)
    typer.echo(
        f"Lowest loss at {found.lowest_at:.2g} times the built-in rates, suggested {found.suggestion:.2g} times: "
        + ("they suit." if 1 / 3 <= found.suggestion <= 3 else "they may be off for this chat.")
    )
    page = write_range(settings[PathsTable].checkpoints, learned_from.name, plan.sentence, range_test(found))
    typer.echo(f"The plot: {page}")


def _read(
    data: Path | None, level: Level | None, documents: Literal["lines", "whole"], seed: int, settings: Settings
) -> "LadderData":
    """A plain text by its name, any other file as a chat log, the channel's own chat without one."""
    from corpus.cleaning import Rules
    from trainer.ladder_chat import chat_data, read_log, read_own
    from trainer.ladder_data import read_text, text_data

    if data is not None and data.suffix == ".txt":
        return text_data(read_text(data), name=data.name, level=level or "char", documents=documents, seed=seed)
    rules = Rules.of(settings[CorpusTable], settings[CleaningTable])
    if data is None:
        chat, name = read_own(settings[PathsTable].database, rules), "the channel's chat"
    else:
        chat, name = read_log(data, settings[CorpusTable], rules), data.name
    table = settings[ModelTable]
    if level is not None:
        table = table.model_copy(update={"tokenizer": level})
    return chat_data(chat, table, settings[CleaningTable], name=name)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
