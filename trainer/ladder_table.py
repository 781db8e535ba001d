"""The ladder in a terminal: one row a rung, live while it is climbed. Pure: results in, a rich table out."""

import json
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from trainer.ladder import RungResult, Underway
from trainer.rungs import Rung


def ladder_table(title: str, rungs: Sequence[Rung], results: Sequence[RungResult], underway: Underway | None) -> Table:
    """Every rung: climbed, underway or waiting. The best validation loss so far stands out."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", expand=True)
    table.add_column("rung", no_wrap=True)
    for heading in ("parameters", "train", "validation", "bits/char", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    tested = any(result.test for result in results)
    if tested:
        table.add_column("test", justify="right", no_wrap=True)
    table.add_column("sample", no_wrap=True, overflow="ellipsis", ratio=1)
    by_name = {result.name: result for result in results}
    best = min((result.validation.nats_per_token for result in results), default=None)
    for rung in rungs:
        result = by_name.get(rung.name)
        if result is not None:
            leads = result.validation.nats_per_token == best
            cells = [
                f"{result.parameters:,}",
                f"{result.train.nats_per_token:.3f}",
                f"{result.validation.nats_per_token:.3f}",
                f"{result.validation.bits_per_character:.3f}",
                f"{result.seconds:.1f}",
                *([f"{result.test.nats_per_token:.3f}" if result.test else ""] if tested else []),
            ]
            table.add_row(result.title, *cells, _quoted(result.samples), style="bold green" if leads else "")
        elif underway is not None and underway.rung.name == rung.name:
            cells = [
                f"{underway.parameters:,}",
                "" if underway.train is None else f"{underway.train:.3f}",
                f"{underway.loss.nats_per_token:.3f}",
                f"{underway.loss.bits_per_character:.3f}",
                f"{underway.seconds:.1f}",
                *([""] if tested else []),
            ]
            title_now = f"{rung.title} {100 * underway.share_done:.0f} %"
            table.add_row(title_now, *cells, _quoted([underway.sample]), style="yellow")
        else:
            table.add_row(rung.title, *[""] * (6 if tested else 5), Text(rung.adds), style="dim")
    return table


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
