"""What an operator sees of an import: a progress bar over bytes, then one table of what became of every row."""

import time
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from corpus.errors import ImportFileError
from corpus.importers.importing import EXAMPLES, Summary, import_file
from corpus.importers.registry import files_of, importer_of
from corpus.importers.source import Options, Source
from corpus.store import Corpus

_ALWAYS = ("rows", "kept", "known already")  # the others only when there is something to say
_COLUMNS: tuple[tuple[str, Callable[[Summary], int]], ...] = (
    ("rows", lambda one: one.rows),
    ("kept", lambda one: one.appended.kept),
    ("known already", lambda one: one.appended.duplicates),
    ("refused", lambda one: one.appended.refused),
    ("unreadable", lambda one: one.skipped.total()),
)


def import_all(
    names: Sequence[str],
    corpus: Corpus | None,
    *,
    channel: str | None = None,
    timezone: str = "UTC",
    strict: bool = False,
    console: Console | None = None,
) -> list[Summary]:
    """Import files, folders and patterns; without a corpus only say what would come of it."""
    console = console or Console()
    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise ImportFileError(
            f"--timezone {timezone}: no such time zone; write one like Europe/Berlin or UTC"
        ) from error
    options = Options(channel.lstrip("#").lower() if channel else None, zone)
    paths = files_of(names)
    started = time.monotonic()
    summaries: list[Summary] = []
    refused: list[str] = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task("", total=sum(path.stat().st_size for path in paths), rows=0)
        done = 0
        for number, path in enumerate(paths, 1):
            progress.update(task, description=f"{path.name} ({number} of {len(paths)})")
            try:
                source = Source.of(path)
                importer = importer_of(source)
            except ImportFileError as error:
                if strict or len(paths) == 1:
                    raise
                refused.append(f"{path.name}: {_first_words(error)}")
                continue

            def advance(summary: Summary, done: int = done) -> None:
                rows = sum(one.rows for one in summaries) + summary.rows
                progress.update(task, completed=done + summary.consumed, rows=rows)

            try:
                summaries.append(import_file(corpus, source, importer, options, strict=strict, on_batch=advance))
            except ImportFileError as error:
                if strict or len(paths) == 1:
                    raise
                refused.append(f"{path.name}: {_first_words(error)}")
            done += source.size
    _report(console, summaries, refused, time.monotonic() - started, stored=corpus is not None)
    return summaries


def _first_words(error: ImportFileError) -> str:
    """The complaint without the path, which may be long, and without the list of formats."""
    return str(error).partition("\n")[0].partition(": ")[2].partition(";")[0]


def _report(console: Console, summaries: list[Summary], refused: list[str], seconds: float, *, stored: bool) -> None:
    table = Table(title="Imported" if stored else "Would be imported", title_justify="left")
    formats: dict[str, list[Summary]] = {}
    for summary in summaries:
        formats.setdefault(summary.format, []).append(summary)
    columns: list[tuple[str, list[int]]] = [
        ("files", [len(those) for those in formats.values()]),
        *((heading, [sum(map(value, those)) for those in formats.values()]) for heading, value in _COLUMNS),
    ]
    always = _ALWAYS if stored else ("rows", "kept")  # a dry run asks no database
    shown = [(heading, values) for heading, values in columns if heading in ("files", *always) or any(values)]
    table.add_column("format")
    for heading, _ in shown:
        table.add_column(heading, justify="right", no_wrap=True)
    for place, name in enumerate(formats):
        table.add_row(name, *(f"{values[place]:,}" for _, values in shown))
    console.print(table)
    for summary in summaries:
        for why, count in summary.skipped.most_common():
            lines = ", ".join(str(one.line) for one in summary.examples if one.why == why)
            more = " …" if count > EXAMPLES else ""
            console.print(f"  {summary.file}: {count:,} × {why}, line {lines}{more}", markup=False, soft_wrap=True)
    for sentence in refused:
        console.print(f"  left out: {sentence}", markup=False, soft_wrap=True)
    no_chat, moderation = sum(one.no_chat for one in summaries), sum(one.moderation for one in summaries)
    if no_chat:
        console.print(f"  {no_chat:,} rows are notices and no chat.")
    if moderation:
        removed = sum(one.removed for one in summaries)
        console.print(f"  {moderation:,} moderators' deletions, time-outs and bans took {removed:,} messages away.")
    rows = sum(summary.rows for summary in summaries)
    console.print(f"{rows:,} rows in {seconds:.1f} s ({rows / max(seconds, 1e-9):,.0f} a second).")
