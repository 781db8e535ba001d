"""What an operator sees of an import: a progress bar over bytes, then one table of what became of every row."""

import time
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from corpus.errors import ImportFileError
from corpus.importers.importing import Summary, import_file
from corpus.importers.registry import files_of, importer_of
from corpus.importers.source import Options, Source
from corpus.store import Corpus


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
                refused.append(str(error).partition("\n")[0])
                continue

            def advance(summary: Summary, source: Source = source, done: int = done) -> None:
                rows = sum(one.rows for one in summaries) + summary.rows
                progress.update(task, completed=done + source.consumed(), rows=rows)

            summaries.append(import_file(corpus, source, importer, options, strict=strict, on_batch=advance))
            done += source.size
    _report(console, summaries, refused, time.monotonic() - started, stored=corpus is not None)
    return summaries


def _report(console: Console, summaries: list[Summary], refused: list[str], seconds: float, *, stored: bool) -> None:
    table = Table("format", title="Imported" if stored else "Would be imported", title_justify="left")
    for heading in ("files", "rows", "kept", "there already", "refused", "not readable", "moderation", "taken away"):
        table.add_column(heading, justify="right")
    formats: dict[str, list[Summary]] = {}
    for summary in summaries:
        formats.setdefault(summary.format, []).append(summary)
    for name, those in formats.items():
        table.add_row(
            name,
            *(
                f"{value:,}"
                for value in (
                    len(those),
                    sum(one.rows for one in those),
                    sum(one.appended.kept for one in those),
                    sum(one.appended.duplicates for one in those),
                    sum(one.appended.refused for one in those),
                    sum(one.skipped.total() for one in those),
                    sum(one.moderation for one in those),
                    sum(one.removed for one in those),
                )
            ),
        )
    console.print(table)
    for summary in summaries:
        for why, count in summary.skipped.most_common():
            lines = ", ".join(str(one.line) for one in summary.examples if one.why == why)
            console.print(
                f"  not readable: {count:,} × {why}" + (f" (line {lines}{' …' if count > 1 else ''})" if lines else "")
            )
    for sentence in refused:
        console.print(f"  left out: {sentence}", markup=False)
    rows = sum(summary.rows for summary in summaries)
    console.print(f"{rows:,} rows in {seconds:.1f} s ({rows / max(seconds, 1e-9):,.0f} a second).")
