"""The report's charts as plotly figures in plain values; colours are named as the page's, so that its theme can change.

Labels come from chat: what plotly would take for markup is escaped here.
"""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Chart = dict[str, Any]

SERIES = (
    "#8a8f98", "#b7791f", "#d69e2e", "#dd6b20", "#e53e3e", "#2f9e44", "#0ca5b0",
    "#1c8ed6", "#3b6fe0", "#5f5fe8", "#8250df", "#b04ad8", "#d6338a", "#e0528f",
)  # fmt: skip


class Point(Protocol):
    @property
    def step(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def train(self) -> float | None: ...
    @property
    def validation(self) -> float | None: ...


class Learner(Protocol):
    @property
    def title(self) -> str: ...
    @property
    def validation(self) -> float: ...
    @property
    def curve(self) -> Sequence[Point]: ...


def series_colour(number: int, count: int) -> str:
    """A colour for each of `count` models, far apart where there are few."""
    if count >= len(SERIES):
        return SERIES[number % len(SERIES)]
    return SERIES[-1 - round((count - 1 - number) * (len(SERIES) - 1) / max(count - 1, 1))]


def loss_curves(chart_id: str, learners: Sequence[Learner]) -> Chart:
    """Validation loss against seconds; a model that was not trained step by step is a level to beat."""
    trained = [learner for learner in learners if len(learner.curve) > 1]
    ends = [point.seconds for learner in trained for point in learner.curve]
    first = max(min((point.seconds for point in (learner.curve[1] for learner in trained)), default=0.1), 0.05)
    last = max(ends, default=1.0)
    data: list[Chart] = []
    for number, learner in enumerate(learners):
        colour = series_colour(number, len(learners))
        name = _safe(learner.title)
        if len(learner.curve) > 1:
            points = [point for point in learner.curve if point.validation is not None]
            seconds = [round(max(point.seconds, first), 3) for point in points]
            known = [point for point in learner.curve if point.train is not None]
            data.append(
                {
                    "type": "scatter", "mode": "lines", "name": name, "legendgroup": name, "x": seconds,
                    "y": [round(point.validation or 0.0, 4) for point in points],
                    "customdata": [point.step for point in points],
                    "line": {"color": colour, "width": 2.5},
                    "hovertemplate": "%{y:.3f} nats after %{x:.1f} s, step %{customdata:,}<extra>" + name + "</extra>",
                }
            )  # fmt: skip
            data.append(
                {
                    "type": "scatter", "mode": "lines", "name": name, "legendgroup": name, "showlegend": False,
                    "meta": "train", "visible": False,
                    "x": [round(max(point.seconds, first), 3) for point in known],
                    "y": [round(point.train or 0.0, 4) for point in known],
                    "line": {"color": colour, "width": 1.5, "dash": "dot"},
                    "hovertemplate": "%{y:.3f} nats in training<extra>" + name + "</extra>",
                }
            )  # fmt: skip
        else:
            data.append(
                {
                    "type": "scatter", "mode": "lines", "name": name, "x": [first, last],
                    "y": [round(learner.validation, 4)] * 2, "line": {"color": colour, "width": 1.5, "dash": "dash"},
                    "hovertemplate": "%{y:.3f} nats, counted<extra>" + name + "</extra>",
                }
            )  # fmt: skip
    return {
        "id": chart_id,
        "data": data,
        "layout": {
            "height": 480,
            "margin": {"l": 56, "r": 12, "t": 12, "b": 48},
            "showlegend": True,
            "hovermode": "closest",
            "xaxis": _axis("seconds of training", type="log", dtick=1, minor={"showgrid": False}),
            "yaxis": _axis("nats a token"),
        },
    }


def followers(chart_id: str, picture: Mapping[str, Any]) -> Chart:
    """P(next | token), on a square-root scale: the many small chances are what makes a language."""
    labels = [_safe(str(label)) for label in picture["labels"]]
    chances = picture["chances"]
    return {
        "id": chart_id,
        "data": [
            {
                "type": "heatmap", "z": [[round(chance**0.5, 4) for chance in row] for row in chances],
                "customdata": [[round(100 * chance, 2) for chance in row] for row in chances],
                "colorscale": "@heat", "showscale": False, "xgap": 1, "ygap": 1,
                "x": list(range(len(labels))), "y": list(range(len(labels))),
                "text": [[f"after {row}: {column}" for column in labels] for row in labels],
                "hovertemplate": "%{text}, %{customdata} %<extra></extra>",
            }
        ],
        "layout": {
            "height": 760,
            "margin": {"l": 76, "r": 12, "t": 64, "b": 12},
            "xaxis": _labelled(labels, side="top", title="… is followed by"),
            "yaxis": _labelled(labels, autorange="reversed", title="this token …"),
        },
    }  # fmt: skip


def range_test(chart_id: str, picture: Mapping[str, Any]) -> Chart:
    """Loss against learning rate, with the rate that was chosen."""
    chosen = float(picture["suggestion"])
    smoothed = [float(loss) for loss in picture["smoothed"]]
    return {
        "id": chart_id,
        "data": [
            {
                "type": "scatter", "mode": "markers", "name": "each step", "x": picture["rates"],
                "y": picture["losses"], "hovertemplate": "%{y:.3f} at %{x:.2g}<extra></extra>",
                "marker": {"color": "@muted", "size": 4, "opacity": 0.5},
            },
            {
                "type": "scatter", "mode": "lines", "name": "smoothed", "x": picture["rates"], "y": smoothed,
                "line": {"color": "@accent", "width": 3}, "hovertemplate": "%{y:.3f} at %{x:.2g}<extra></extra>",
            },
        ],
        "layout": {
            "height": 440,
            "margin": {"l": 56, "r": 12, "t": 30, "b": 48},
            "showlegend": False,
            "xaxis": _axis("learning rate", type="log", dtick=1, exponentformat="power", minor={"showgrid": False}),
            "yaxis": _axis("nats a token", range=[min(smoothed) - 0.15, 1.15 * smoothed[0]] if smoothed else None),
            "shapes": [
                {"type": "line", "x0": chosen, "x1": chosen, "yref": "paper", "y0": 0, "y1": 1,
                 "line": {"color": "@ink", "width": 1.5, "dash": "dot"}}
            ],
            "annotations": [
                {"x": _log10(chosen), "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False,
                 "text": f"chosen: {chosen:.2g}", "font": {"color": "@ink"}}
            ],
        },
    }  # fmt: skip


CROWDED = 60  # tokens on a map; more of them get the page's whole width
LETTER_PX, LINE_PX = 8.5, 17  # what a label takes
MAP_PX = ((440, 340), (980, 520))  # width and height of a plot: of few, of many tokens


def embedding(chart_id: str, picture: Mapping[str, Any]) -> Chart:
    """Tokens on a map, a colour for each kind. Where labels would lie on each other the more frequent token keeps its
    own, and the other is a dot that tells its name when pointed at."""
    crowded = is_crowded(picture)
    places = [(float(x), float(y)) for x, y in zip(picture["x"], picture["y"], strict=True)]
    if crowded:
        places = _spread(places)
    labels = [_safe(str(label)) for label in picture["labels"]]
    shown = _readable([str(label) for label in picture["labels"]], places, MAP_PX[crowded])
    data: list[Chart] = []
    for number, kind in enumerate(dict.fromkeys(picture["kinds"])):
        colour = KIND_COLOURS[number % len(KIND_COLOURS)]
        name = _safe(str(kind))
        for labelled in (True, False):
            tokens = [
                token for token, known in enumerate(picture["kinds"]) if known == kind and shown[token] == labelled
            ]
            drawn = (
                {"mode": "text", "textfont": {"size": 14, "color": colour}}
                if labelled
                else {"mode": "markers", "marker": {"size": 5, "color": colour, "opacity": 0.6}}
            )
            if tokens:
                data.append(
                    {
                        "type": "scatter", "name": name, "showlegend": False,
                        "text": [labels[token] for token in tokens],
                        "x": [round(places[token][0], 4) for token in tokens],
                        "y": [round(places[token][1], 4) for token in tokens],
                        "hovertemplate": "%{text}<extra>" + name + "</extra>", **drawn,
                    }
                )  # fmt: skip
        # Text alone has no mark in a legend.
        mark = {"size": 9, "color": colour}
        data.append({"type": "scatter", "mode": "markers", "name": name, "x": [None], "y": [None], "marker": mark})
    bare = {"showticklabels": False, "zeroline": False, "gridcolor": "@grid"}
    return {
        "id": chart_id,
        "data": data,
        "layout": {
            "height": MAP_PX[crowded][1] + 100,
            "margin": {"l": 12, "r": 12, "t": 12, "b": 12},
            "showlegend": True,
            "legend": {"orientation": "h", "y": -0.02, "yanchor": "top"},
            "xaxis": bare,
            "yaxis": bare,
        },
    }


def is_crowded(picture: Mapping[str, Any]) -> bool:
    """Whether a map has so many tokens that it needs the page's width, and its middle drawn wider."""
    return len(picture["labels"]) > CROWDED


def _spread(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same map with its middle drawn wider than its edges: a few outliers else leave no room for all others."""

    def wider(values: Sequence[float]) -> list[float]:
        scale = sorted(abs(value) for value in values)[len(values) // 2] or 1.0
        return [math.asinh(2 * value / scale) for value in values]

    xs, ys = zip(*places, strict=True)
    return list(zip(wider(xs), wider(ys), strict=True))


def _readable(labels: Sequence[str], places: Sequence[tuple[float, float]], size: tuple[int, int]) -> list[bool]:
    """Which labels can be read: each that touches none before it, when drawn into `size` pixels."""
    xs, ys = zip(*places, strict=True)
    across = size[0] / ((max(xs) - min(xs)) or 1.0)
    up = size[1] / ((max(ys) - min(ys)) or 1.0)
    kept: list[tuple[float, float, float]] = []
    shown = []
    for label, (x, y) in zip(labels, places, strict=True):
        middle, height, half = x * across, y * up, max(len(label), 1) * LETTER_PX / 2
        clear = all(abs(middle - m) > half + h or abs(height - v) > LINE_PX for m, v, h in kept)
        if clear:
            kept.append((middle, height, half))
        shown.append(clear)
    return shown


KIND_COLOURS = ("#d6338a", "#1c8ed6", "#2f9e44", "#dd6b20", "#8250df", "#8a8f98", "#0ca5b0")


def attention(chart_id: str, picture: Mapping[str, Any]) -> Chart:
    """Attention weights of one head: rows look, columns are looked at; the future is empty."""
    labels = [_safe(str(label)) for label in picture["labels"]]
    weights = picture["weights"]
    seen = [
        [weight if column <= row else None for column, weight in enumerate(line)] for row, line in enumerate(weights)
    ]
    size = max(360, min(760, 26 * len(labels) + 90))
    return {
        "id": chart_id,
        "data": [
            {
                "type": "heatmap", "z": seen, "colorscale": "@heat", "showscale": False, "zmin": 0,
                "xgap": 1, "ygap": 1,
                "x": list(range(len(labels))), "y": list(range(len(labels))),
                "text": [[f"{row} looks at {column}" for column in labels] for row in labels],
                "hovertemplate": "%{text}: %{z:.2f}<extra></extra>",
            }
        ],
        "layout": {
            "height": size,
            "margin": {"l": 90, "r": 12, "t": 70, "b": 12},
            "xaxis": _labelled(labels, side="top", title="… looks at"),
            "yaxis": _labelled(labels, autorange="reversed", title="this token …"),
        },
    }  # fmt: skip


def _axis(title: str, **more: Any) -> Chart:
    return {"title": {"text": title}, "gridcolor": "@grid", "zeroline": False, "linecolor": "@line", **more}


def _labelled(labels: Sequence[str], *, title: str, **more: Any) -> Chart:
    """A category axis by number, because two tokens may look alike. Long labels across the top stand upright, where
    they would else run into each other."""
    upright = more.get("side") == "top" and max(map(len, labels), default=0) > 2
    return {
        "title": {"text": title, "font": {"color": "@muted"}}, "tickmode": "array", "ticktext": list(labels),
        "tickvals": list(range(len(labels))), "showgrid": False, "zeroline": False, "ticks": "",
        "tickfont": {"size": 12}, "tickangle": -90 if upright else 0, "automargin": True, **more,
    }  # fmt: skip


def _safe(label: str) -> str:
    """Plotly reads a few HTML tags in labels; a token that spells one is shown, not obeyed."""
    return html.escape(label, quote=False)


def _log10(value: float) -> float:
    return math.log10(value)
