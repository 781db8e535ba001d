"""What a streamer may write into the overlay's address, and what becomes of a mistake there."""

import pytest

from bot.overlay import OverlayError, OverlayOptions, overlay_page


def test_an_address_without_options_shows_what_it_says_and_its_loss() -> None:
    assert OverlayOptions.parse({}) == OverlayOptions(panels=("say", "loss"))


def test_every_option_can_be_set_from_the_address() -> None:
    query = {
        "panels": "status,say,say",
        "scale": "1.5",
        "theme": "clear",
        "side": "right",
        "lines": "4",
        "hold": "0",
        "motion": "off",
        "token": "x",
    }
    assert OverlayOptions.parse(query) == OverlayOptions(("status", "say"), 1.5, "clear", "right", 4, 0, False)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"panel": "say"}, "panel= is not known; it takes panels, scale"),
        ({"panels": "say,chat"}, "panels=chat is not known; choose from say, loss, samples, status"),
        ({"panels": ","}, "names none"),
        ({"theme": "neon"}, "theme=neon"),
        ({"scale": "big"}, "scale=big must be a number from 0.3 to 5"),
        ({"scale": "nan"}, "scale=nan"),
        ({"scale": "100"}, "scale=100"),
        ({"lines": "0"}, "lines=0"),
        ({"motion": "maybe"}, "motion=maybe"),
    ],
)
def test_a_mistake_in_the_address_is_named(query: dict[str, str], words: str) -> None:
    with pytest.raises(OverlayError) as caught:
        OverlayOptions.parse(query)
    assert words in str(caught.value)


def test_a_mistake_is_shown_in_the_overlays_place_as_text() -> None:
    page = overlay_page("<html><body></body></html>", {"theme": "<script>alert(1)</script>"})
    assert "<script>" not in page
    assert "&lt;script&gt;" in page and 'class="mistake"' in page


def test_options_become_classes_and_data_of_the_body() -> None:
    page = overlay_page("<body>", {"panels": "loss", "theme": "light", "motion": "off", "scale": "2"})
    assert 'class="theme-light side-left still"' in page
    assert 'data-panels="loss"' in page and 'data-scale="2"' in page
