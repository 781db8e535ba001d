"""What a streamer may set in the overlay's address: panels, scale, theme and the like, checked. Pure.

The classes written here are an interface for OBS's custom CSS; docs/overlay.md describes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Literal, TypeVar, get_args

from corpus.errors import BackchatError

Panel = Literal["say", "loss", "samples", "status"]
Theme = Literal["dark", "light", "clear"]
Side = Literal["left", "right"]
PANELS: tuple[Panel, ...] = get_args(Panel)
THEMES: tuple[Theme, ...] = get_args(Theme)
SIDES: tuple[Side, ...] = get_args(Side)
Choice = TypeVar("Choice", bound=str)
KNOWN = ("panels", "scale", "theme", "side", "lines", "hold", "motion", "token")


class OverlayError(BackchatError):
    """The overlay's address asks for something there is not; the sentence is shown in its place."""


@dataclass(frozen=True, slots=True)
class OverlayOptions:
    """`panels` stack in their order; `scale` multiplies every size; the last `lines` said stay for `hold_s` seconds.

    A `hold_s` of 0 keeps them; without `motion` nothing is animated.
    """

    panels: tuple[Panel, ...] = ("say", "loss")
    scale: float = 1.0
    theme: Theme = "dark"
    side: Side = "left"
    lines: int = 2
    hold_s: int = 25
    motion: bool = True

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> "OverlayOptions":
        """From the address. Raises `OverlayError` for the first thing that is not understood."""
        for key in query:
            if key not in KNOWN:
                raise OverlayError(f"the overlay's address: {key}= is not known; it takes {', '.join(KNOWN[:-1])}")
        default = cls()
        panels = default.panels
        if "panels" in query:
            panels = tuple(
                _one_of("panels", name.strip(), PANELS) for name in query["panels"].split(",") if name.strip()
            )
            if not panels:
                raise OverlayError(f"the overlay's address: panels= names none; choose from {', '.join(PANELS)}")
        return cls(
            panels=tuple(dict.fromkeys(panels)),
            scale=_number("scale", query.get("scale", "1"), 0.3, 5.0),
            theme=_one_of("theme", query.get("theme", default.theme), THEMES),
            side=_one_of("side", query.get("side", default.side), SIDES),
            lines=int(_number("lines", query.get("lines", str(default.lines)), 1, 10)),
            hold_s=int(_number("hold", query.get("hold", str(default.hold_s)), 0, 3600)),
            motion=_one_of("motion", query.get("motion", "on"), ("on", "off")) == "on",
        )


def overlay_page(template: str, query: Mapping[str, str]) -> str:
    """The overlay's HTML for an address: the template with the options as classes and data of its body."""
    try:
        options = OverlayOptions.parse(query)
    except OverlayError as error:
        return template.replace("<body>", f'<body class="mistake"><p>{escape(str(error))}</p>')
    classes = [f"theme-{options.theme}", f"side-{options.side}", *(() if options.motion else ("still",))]
    data = {
        "panels": ",".join(options.panels),
        "scale": f"{options.scale:g}",
        "lines": str(options.lines),
        "hold": str(options.hold_s),
    }
    attributes = " ".join(f'data-{key}="{value}"' for key, value in data.items())
    return template.replace("<body>", f'<body class="{" ".join(classes)}" {attributes}>')


def _one_of(key: str, value: str, choices: tuple[Choice, ...]) -> Choice:
    for choice in choices:
        if value == choice:
            return choice
    raise OverlayError(f"the overlay's address: {key}={value} is not known; choose from {', '.join(choices)}")


def _number(key: str, value: str, low: float, high: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        raise OverlayError(f"the overlay's address: {key}={value} must be a number from {low:g} to {high:g}")
    return number
