"""The live screen shows what matters, and without a terminal each piece of news is one line, once."""

import io
from dataclasses import replace

from rich.console import Console

from bot.facts import Point, Training
from bot.screen import ProgramView, View, plain, screen

UP = tuple(ProgramView(name, True, 0, None, "") for name in ("bot", "corpus", "trainer"))
TRAINING = Training(
    "r1", 120, 500, 80, 1000, curve=(Point(0, 6.2, 3.1), Point(120, 4.2, 2.1)), mixture_bits=1.9, sample="you all\nwin"
)
VIEW = View(
    "http://127.0.0.1:8420/",
    "local room",
    UP,
    TRAINING,
    corpus={"messages_stored": 1234, "connected": True},
    bot={
        "voice": "mixture r1/step-120",
        "said": [{"ms": 1, "kind": "reply", "text": "hi [bold]chat"}, {"ms": 2, "kind": "narration", "text": "loss!"}],
    },
)


def drawn(view: View) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(screen(view))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_screen_shows_url_messages_loss_sample_voice_and_what_was_said() -> None:
    shown = drawn(VIEW)
    for words in (
        "http://127.0.0.1:8420/", "1,234 messages", "connected", "step 120 of 500", "4.200", "█▁", "you all win",
        "mixture r1/step-120", "hi [bold]chat", "loss!",
    ):  # fmt: skip
        assert words in shown, words


def test_a_program_that_is_down_is_shown_with_its_last_words() -> None:
    down = ProgramView("trainer", False, 2, 3.4, "backchat: no room on the disk")
    shown = drawn(replace(VIEW, programs=(UP[0], replace(UP[1], restarts=1), down)))
    assert "again in 3 s: backchat: no room on the disk" in shown
    assert "restarted 1 time" in shown


def test_the_screen_has_something_to_say_before_anything_has_started() -> None:
    shown = drawn(View("http://x/", "local room", ()))
    assert "collector starting" in shown and "0 messages" in shown


def test_what_the_bot_needs_is_said_on_the_screen_and_once_in_the_log() -> None:
    deaf = replace(VIEW, bot={**VIEW.bot, "detail": "not signed in to Twitch; run `backchat login`"})
    assert "run `backchat login`" in drawn(deaf)
    assert "bot: not signed in to Twitch; run `backchat login`" in list(plain(VIEW, deaf))
    assert not any("login" in line for line in plain(deaf, deaf))


def test_without_a_terminal_news_is_told_once() -> None:
    first = View("http://x/", "local room", UP)
    assert list(plain(None, first)) == ["open http://x/ (local room); Ctrl-C or SIGTERM stops everything"]
    news = list(plain(first, VIEW))
    assert any("voice: mixture" in line for line in news)
    assert any("connected, 1,234 messages" in line for line in news)
    assert any("loss 4.200" in line for line in news)
    assert news[-2:] == ["said: hi [bold]chat", "said: loss!"]
    assert list(plain(VIEW, VIEW)) == []


def test_deaths_and_restarts_are_told_without_a_terminal() -> None:
    dead = replace(VIEW, programs=(replace(UP[0], running=False, again_in_s=0.5, last_words="boom"), *UP[1:]))
    back = replace(VIEW, programs=(replace(UP[0], restarts=1), *UP[1:]))
    assert list(plain(VIEW, dead)) == ["bot: stopped, again in 0 s: boom"]
    assert list(plain(dead, back)) == ["bot: running again (restart 1)"]


def test_why_a_line_was_dropped_is_said_while_it_is_news() -> None:
    unsaid = {"ms": 60_000, "kind": "reply", "why": "channel_settings: followers only"}
    dropped = replace(VIEW, bot={**VIEW.bot, "time_ms": 61_000, "unsaid": unsaid})
    assert "a reply: channel_settings: followers only" in drawn(dropped)
    assert "not said: a reply: channel_settings: followers only" in list(plain(VIEW, dropped))
    assert not any("not said" in line for line in plain(dropped, dropped))
    late = replace(dropped, bot={**dropped.bot, "unsaid": {**unsaid, "why": "expired"}})
    assert "a reply: its turn came too late" in drawn(late)
    assert "not said" not in drawn(replace(dropped, bot={**dropped.bot, "time_ms": 600_000}))


def test_why_it_is_quiet_is_said_and_when_it_speaks_again() -> None:
    def held(words: str) -> View:
        return replace(VIEW, bot={**VIEW.bot, "held": words})

    one, two = (held(f"shadow mode ({count} waiting); `backchat go-live` lets it speak") for count in (1, 2))
    assert "shadow mode (1 waiting); `backchat go-live` lets it speak" in drawn(one)
    assert "quiet: shadow mode; `backchat go-live` lets it speak" in list(plain(VIEW, one))
    assert not any("quiet" in line for line in plain(one, two)), "one more that waits is no news"
    assert "it speaks" in list(plain(two, held("")))
