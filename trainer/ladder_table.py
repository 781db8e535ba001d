"""The ladder in a terminal: one row a rung, live while it is climbed. Pure: results in, a rich table out."""

import json
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from trainer.ladder import RungResult, Underway
from trainer.metrics import Loss
from trainer.rungs import Rung

NARROW = 100  # columns of a terminal below which a sample gets a line of its own, so that no figure is cut


def ladder_table(
    title: str, rungs: Sequence[Rung], results: Sequence[RungResult], underway: Underway | None, *, width: int = 120
) -> Table:
    """Every rung: climbed, underway or waiting. The best validation loss so far stands out; in a narrow terminal only
    the newest sample is shown, below."""
    narrow = width < NARROW
    tested = any(result.test for result in results)
    table = Table(
        title=title, box=box.SIMPLE_HEAD, title_justify="left", expand=not narrow, padding=(0, int(not narrow))
    )
    table.add_column("rung", no_wrap=True)
    for heading in ("parameters", "train", "validation", "bits/char", "seconds", *(["test"] if tested else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    if not narrow:
        table.add_column("sample", no_wrap=True, overflow="ellipsis", ratio=1)
    elif results or underway:
        table.caption = _newest_sample(results, underway)
        table.caption_justify = "left"

    def row(name: str, cells: Sequence[str], last: Text, style: str) -> None:
        table.add_row(name, *cells, *([] if narrow else [last]), style=style)

    by_name = {result.name: result for result in results}
    best = min((result.validation.nats_per_token for result in results), default=None)
    for rung in rungs:
        result = by_name.get(rung.name)
        if result is not None:
            leads = result.validation.nats_per_token == best
            test = [f"{result.test.nats_per_token:.3f}" if result.test else ""] if tested else []
            cells = _cells(result.parameters, result.train.nats_per_token, result.validation, result.seconds, test)
            row(result.title, cells, _quoted(result.samples), "bold green" if leads else "")
        elif underway is not None and underway.rung.name == rung.name:
            cells = _cells(underway.parameters, underway.train, underway.loss, underway.seconds, [""] if tested else [])
            row(f"{rung.title} {100 * underway.share_done:.0f} %", cells, _quoted([underway.sample]), "yellow")
        else:
            row(rung.title, [""] * (6 if tested else 5), Text(rung.adds), "dim")
    return table


def _cells(parameters: int, train: float | None, loss: Loss, seconds: float, test: list[str]) -> list[str]:
    return [
        f"{parameters:,}",
        "" if train is None else f"{train:.3f}",
        f"{loss.nats_per_token:.3f}",
        f"{loss.bits_per_character:.3f}",
        f"{seconds:.1f}",
        *test,
    ]


def _newest_sample(results: Sequence[RungResult], underway: Underway | None) -> Text:
    title = underway.rung.title if underway else results[-1].title
    said = Text.assemble(f"{title}: ", _quoted([underway.sample] if underway else results[-1].samples))
    said.no_wrap, said.overflow = True, "ellipsis"
    return said


def ladder_line(result: RungResult) -> str:
    """A climbed rung in one line, for where no table can be drawn anew."""
    loss = result.validation
    tested = f", test {result.test.nats_per_token:.3f}" if result.test else ""
    return (
        f"{result.title}: train {result.train.nats_per_token:.3f}, validation {loss.nats_per_token:.3f}{tested} nats a "
        f"token, {loss.bits_per_character:.3f} bits a character, {result.parameters:,} parameters, "
        f"{result.seconds:.1f} s"
    )


def _quoted(samples: Sequence[str]) -> Text:
    """Samples without control characters or markup: what a model says must not steer a terminal."""
    plain = " · ".join(json.dumps(sample, ensure_ascii=False)[1:-1] for sample in samples)
    return Text("".join(character if character.isprintable() else "·" for character in plain))
