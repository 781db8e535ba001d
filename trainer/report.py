"""report.html: one page with the table, the loss curves, the pictures and the samples of a run, that needs no network.

Pure: what a run was is given, a page comes out. Knows nothing of models, of files or of how the figures were made.
"""

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

from trainer import charts


@dataclass(frozen=True)
class CurvePoint:
    """One evaluation: a loss that was not measured is None."""

    step: int
    seconds: float
    train: float | None
    validation: float | None


@dataclass(frozen=True)
class Row:
    """One model of the run: a rung, or the GPT, the n-gram and their mixture. Losses in nats a token."""

    title: str
    adds: str
    validation: float
    bits_per_character: float
    unseen_bits_per_character: float | None = None
    train: float | None = None
    test: float | None = None
    parameters: int | None = None
    seconds: float | None = None
    note: str = ""
    samples: tuple[str, ...] = ()
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True)
class Report:
    """A run as the page tells it. `pictures` are those of trainer.pictures, by name; what is missing is not drawn."""

    title: str
    lead: str
    rows: tuple[Row, ...]
    figures: tuple[tuple[str, str], ...] = ()  # a number and what it is
    pictures: Mapping[str, Any] = field(default_factory=dict)
    samples: tuple[tuple[str, str, tuple[str, ...]], ...] = ()  # title, note, samples; of the rows where empty
    footer: str = ""


def page(report: Report) -> str:
    """The whole page. What chat or a model said is escaped wherever it stands."""
    drawn: list[charts.Chart] = []
    body = [_header(report), _figures(report), _table(report)]
    body += [section for section in (_curves(report, drawn), *_pictures(report, drawn), _samples(report)) if section]
    body.append(f"<footer>{html.escape(report.footer)}</footer>" if report.footer else "")
    template = Template(files("trainer").joinpath("report_page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=html.escape(report.title), body="\n".join(body), plotly=_plotly(), charts=_script_json(drawn)
    )


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _script_json(value: object) -> str:
    """JSON that may stand in a script: nothing in it can end one, or be taken for markup."""
    return json.dumps(value, ensure_ascii=True).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _header(report: Report) -> str:
    return (
        f"<header><div><h1>{html.escape(report.title)}</h1><p class='lead'>{html.escape(report.lead)}</p></div>"
        "<button id='theme' type='button' title='Switch between dark and light'>Dark / light</button></header>"
    )


def _figures(report: Report) -> str:
    shown = "".join(
        f"<div class='figure'><b>{html.escape(number)}</b><span>{html.escape(what)}</span></div>"
        for number, what in report.figures
    )
    return f"<div class='figures'>{shown}</div>" if shown else ""


def _table(report: Report) -> str:
    rows = report.rows
    if not rows:
        return ""
    worst = max(row.validation for row in rows) or 1.0
    best = min(row.validation for row in rows)
    columns = [
        ("parameters", [None if row.parameters is None else f"{row.parameters:,}" for row in rows]),
        ("train", [_number(row.train) for row in rows]),
        ("bits / character", [_number(row.bits_per_character) for row in rows]),
        ("unseen", [_number(row.unseen_bits_per_character) for row in rows]),
        ("test", [_number(row.test) for row in rows]),
        ("seconds", [None if row.seconds is None else f"{row.seconds:,.1f}" for row in rows]),
    ]
    kept = [(name, cells) for name, cells in columns if any(cells)]
    heads = "".join(f"<th>{name}</th>" for name, _ in kept)
    lines = []
    for number, row in enumerate(rows):
        colour = charts.series_colour(number, len(rows))
        tells = "<br>".join(html.escape(text) for text in (row.adds, row.note) if text)
        cells = "".join(f"<td>{cells[number] or ''}</td>" for _, cells in kept)
        width = 72 * row.validation / worst
        lines.append(
            f"<tr{' class=best' if row.validation == best else ''}><td><span class='dot' style='background:{colour}'>"
            f"</span>{html.escape(row.title)}<small>{tells}</small></td><td class='bar'><span class='track'>"
            f"<i style='width:{width:.1f}%;background:{colour}'></i>{row.validation:.3f}</span></td>{cells}</tr>"
        )
    return (
        "<section id='table'><h2>Who guesses best?</h2><p class='why'>Loss in nats a token on text the model has never "
        "seen: how surprised it is, on average, by what really comes next. Shorter is better.</p><div class='scroll'>"
        f"<table><thead><tr><th></th><th class='bar'>validation</th>{heads}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div></section>"
    )


def _curves(report: Report, drawn: list[charts.Chart]) -> str:
    if not any(len(row.curve) > 1 for row in report.rows):
        return ""
    drawn.append(charts.loss_curves("curves", report.rows))
    return (
        "<section><div class='head'><div><h2>Watching them learn</h2><p class='why'>Validation loss against training "
        "time. What is only counted needs no training and is a dashed line to beat. Click a name to hide it, "
        "double-click to see it alone.</p></div><label class='switch'><input type='checkbox' data-training='curves'>"
        "training loss too</label></div><div class='chart' id='curves'></div></section>"
    )


def _pictures(report: Report, drawn: list[charts.Chart]) -> list[str]:
    sections = []
    pictures = report.pictures
    if followers := pictures.get("followers"):
        drawn.append(charts.followers("followers", followers))
        sections.append(
            "<section><h2>What follows what</h2><p class='why'>The bigram is this table: a row for each of the most "
            "frequent tokens, and how likely each other one is to come right behind it.</p>"
            "<div class='chart' id='followers'></div></section>"
        )
    halves = []
    if found := pictures.get("range_test"):
        drawn.append(charts.range_test("range", found))
        halves.append(
            "<section><h2>How fast may it learn?</h2><p class='why'>The range test raises the learning rate at every "
            "step. Too low and nothing happens, too high and it blows up; the line marks the rate that was taken.</p>"
            "<div class='chart' id='range'></div></section>"
        )
    if embedding := pictures.get("embedding"):
        drawn.append(charts.embedding("embedding", embedding))
        halves.append(
            "<section><h2>Where tokens live</h2><p class='why'>Nobody told the network what a vowel is: tokens that "
            f"are used alike end up close. {_dimensions(embedding)}</p>"
            "<div class='chart' id='embedding'></div></section>"
        )
    if len(halves) == 2 and not charts.is_crowded(pictures["embedding"]):
        sections.append(f"<div class='pair'>{''.join(halves)}</div>")
    else:
        sections += halves
    if attention := pictures.get("attention"):
        drawn.append(charts.attention("attention", attention))
        whose = html.escape(str(attention.get("of", "")))
        which = f"Layer {int(attention['layer'])}, head {int(attention['head'])}, of {int(attention['heads'])} in all."
        sections.append(
            "<section><h2>Who listens to whom</h2><p class='why'>One head of attention on one line: each row is a "
            "token that is about to guess the next, and shows where it looks. "
            f"{whose} {which}</p><div class='chart' id='attention'></div></section>"
        )
    return sections


def _dimensions(embedding: Mapping[str, Any]) -> str:
    if int(embedding["dimensions"]) == 2:
        return "They have two dimensions; these are they."
    shown = 100 * float(embedding["variance_shown"])
    wider = " The middle is drawn wider; a dot tells its name." if charts.is_crowded(embedding) else ""
    return (
        "These are the two main directions in which the next layer sees them differ; "
        f"they show {shown:.0f} % of it.{wider}"
    )


def _samples(report: Report) -> str:
    cards = [
        (title, note, samples, charts.series_colour(number, len(report.samples)))
        for number, (title, note, samples) in enumerate(report.samples)
    ] or [
        (row.title, f"{row.validation:.3f}", row.samples, charts.series_colour(number, len(report.rows)))
        for number, row in enumerate(report.rows)
        if row.samples
    ]
    if not cards:
        return ""
    shown = "".join(
        f"<div class='sample' style='border-top-color:{colour}'><h3>{html.escape(title)}"
        f"<span>{html.escape(note)}</span></h3>{''.join(f'<p>{html.escape(sample)}</p>' for sample in samples)}</div>"
        for title, note, samples, colour in cards
    )
    return (
        "<section id='samples'><h2>In their own words</h2><p class='why'>Unedited, one sampler for all: the same seed, "
        f"temperature 0.8.</p><div class='samples'>{shown}</div></section>"
    )


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
