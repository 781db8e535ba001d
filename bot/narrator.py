"""Tells chat how its own training goes, from real metrics: which moments are worth a line, and in what words. Pure.

The words are templates; `[narrator.lines]` in config.toml replaces any moment's. docs/narrator.md lists both.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.commands import count, short, sparkline
from bot.facts import Diary, Training, network_point
from bot.narrator_lines import IMPORTANCE, LINES, Moment, placeholders
from bot.settings import NarratorTable

MILESTONE_NATS = 0.5
IMPORTANT = 3
IMPORTANT_PAUSE_MS = 7_000
STALE_MS = 45_000
OLD_NEWS_MS = 60_000
SAMPLE_CHARACTERS = 90
WORSE_IN_A_ROW = 3
# What nobody wants to read of a run that has ended.
OVER_WITH_THE_RUN: tuple[Moment, ...] = ("run_started", "milestone", "new_best", "getting_worse")


@dataclass(frozen=True, slots=True)
class Narration:
    """One thing to say, in words of which the first that passes the gate is said."""

    moment: Moment
    texts: tuple[str, ...]


@dataclass(slots=True)
class _News:
    values: dict[str, str]
    since_ms: int


@dataclass(slots=True)
class _Run:
    """What the narrator has noticed of the run it follows."""

    lowest_milestone: float = math.inf
    promoted: bool = False
    worse_in_a_row: int = 0
    first_run: bool = True
    diary: Diary = field(default_factory=Diary)


class Narrator:
    """`on_event` takes in the diary, `next` gives at most one thing to say when its time has come.

    News waits for the pace: of what has gathered only the most important is told, with the newest figures; the rest
    is dropped, because nobody wants to read a backlog of losses.
    """

    def __init__(self, settings: NarratorTable, name: str, *, randomness: random.Random, started_ms: int) -> None:
        self._settings = settings
        self._name = name
        self._random = randomness
        self._started_ms = started_ms
        self._run = _Run()
        self._news: dict[Moment, _News] = {}
        self._said_ms: int | None = None
        self._last_variant: dict[Moment, str] = {}

    @property
    def training(self) -> Training | None:
        """The newest run, as told so far."""
        return self._run.diary.training

    def on_awake(self, messages: int, speaking: bool, now_ms: int) -> None:
        """The companion has just started; `speaking` where it has a checkpoint to speak with."""
        moment: Moment = "awake_again" if speaking else "awake"
        self._tell(moment, {"messages": count(messages, "message"), "name": self._name}, now_ms)

    def on_event(self, event: Mapping[str, Any], now_ms: int) -> None:
        """Take in one event of metrics.jsonl. Old news is learned from but not told."""
        if event["event"] == "run_started":
            self._run = _Run(first_run=self._run.diary.training is None)
        run = self._run
        before = run.diary.training
        run.diary.read(event)
        training = run.diary.training
        if training is None:
            return
        moment = self._moment(event, before, training)
        if moment == "run_finished":
            self._news = {known: news for known, news in self._news.items() if known not in OVER_WITH_THE_RUN}
        if moment is None or self.is_old(event):
            return
        self._tell(moment, self._values(training, event), now_ms)

    def is_old(self, event: Mapping[str, Any]) -> bool:
        """Whether it happened well before the companion was there to tell it."""
        return int(event.get("time_ms", self._started_ms)) < self._started_ms - OLD_NEWS_MS

    def next(self, now_ms: int) -> Narration | None:
        """What to say now, if anything."""
        if not self._settings.enabled:
            self._news.clear()
            return None
        for moment in [moment for moment, news in self._news.items() if news.since_ms < now_ms - STALE_MS]:
            del self._news[moment]
        if not self._news:
            return None
        moment = max(self._news, key=lambda known: (IMPORTANCE[known], self._news[known].since_ms))
        pause_ms = self._settings.every_s * 1000
        if IMPORTANCE[moment] >= IMPORTANT:
            pause_ms = min(pause_ms, IMPORTANT_PAUSE_MS)
        if self._said_ms is not None and now_ms - self._said_ms < pause_ms:
            return None
        values = self._news.pop(moment).values
        # What is less important and was known by now is no news any more; what matters may still get its turn.
        self._news = {other: news for other, news in self._news.items() if IMPORTANCE[other] >= IMPORTANT}
        self._said_ms = now_ms
        return Narration(moment, self._worded(moment, values))

    def _moment(self, event: Mapping[str, Any], before: Training | None, training: Training) -> Moment | None:
        run = self._run
        kind = event["event"]
        if kind == "run_started":
            return "rung_started" if training.rung else "run_started"
        if kind == "run_finished":
            return "rung_climbed" if training.rung else "run_finished"
        if kind == "promotion":
            if not event["promoted"]:
                return "not_promoted"
            # Once a run; while that still waits to be told, the newest checkpoint is the one that is told.
            news, run.promoted = not run.promoted or "promoted" in self._news, True
            return "promoted" if news else None
        if kind != "evaluation":
            return None
        point = network_point(event)
        if point is None or training.planned_steps <= 1:  # what only counts is told once it has counted
            return None
        milestone = math.ceil(point.nats_per_token / MILESTONE_NATS) * MILESTONE_NATS
        if point.step == 0 or before is None or not before.curve:
            run.lowest_milestone = milestone
            return "untrained"
        if before.best is not None and point.nats_per_token >= before.best.nats_per_token:
            run.worse_in_a_row += 1
            return "getting_worse" if run.worse_in_a_row == WORSE_IN_A_ROW else None
        run.worse_in_a_row = 0
        if milestone < run.lowest_milestone:
            run.lowest_milestone = milestone
            return "milestone"
        return "new_best"

    def _values(self, training: Training, event: Mapping[str, Any]) -> dict[str, str]:
        """What a template may name, as text. docs/narrator.md explains each."""
        values = {
            "name": self._name,
            "run": training.run,
            "step": f"{training.step:,}",
            "planned_steps": f"{training.planned_steps:,}",
            "percent": f"{100 * training.step / max(1, training.planned_steps):.0f}",
            "messages": count(training.train_messages, "message"),
            "parameters": short(training.parameters),
            "sample": tidy_sample(training.sample),
            "reason": str(event.get("reason", "")),
            "rung": training.rung,
            "adds": training.adds,
            "minutes": f"{float(event.get('seconds', 0)) / 60:.1f}",
            "took": _took(float(event.get("seconds", 0))),
        }
        if training.curve and training.best is not None:
            first, now = training.curve[0], training.curve[-1]
            bits = training.mixture_bits if training.mixture_bits is not None else now.bits_per_character
            values |= {
                "loss": f"{now.nats_per_token:.2f}",
                "first_loss": f"{first.nats_per_token:.2f}",
                "best_loss": f"{training.best.nats_per_token:.2f}",
                "bits": f"{bits:.2f}",
                "choices": f"{math.exp(min(now.nats_per_token, 20)):,.0f}",
                "sparkline": sparkline([point.nats_per_token for point in training.curve], 12),
            }
        return values

    def _tell(self, moment: Moment, values: dict[str, str], now_ms: int) -> None:
        self._news[moment] = _News(values, now_ms)

    def _worded(self, moment: Moment, values: dict[str, str]) -> tuple[str, ...]:
        """The variants whose placeholders have values, shuffled, last time's variant and those without a sample last.

        Those without come behind, so that a sample which the gate refuses still leaves something to say.
        """
        variants = [text for text in (self._settings.lines.get(moment) or LINES[moment]) if _fits(text, values)]
        self._random.shuffle(variants)
        variants.sort(key=lambda text: text == self._last_variant.get(moment))
        if not variants:
            return ()
        self._last_variant[moment] = variants[0]
        plain = [text for text in variants[1:] if "{sample}" not in text]
        return tuple(text.format_map(values) for text in (variants[0], *plain))


def tidy_sample(sample: str) -> str:
    """A sample as a few words of one line."""
    flat = " ".join(sample.split())
    return flat if len(flat) <= SAMPLE_CHARACTERS else flat[: SAMPLE_CHARACTERS - 1].rstrip() + "…"


def _fits(text: str, values: Mapping[str, str]) -> bool:
    """Whether every placeholder of a template has something to say."""
    return all(values.get(name) for name in placeholders(text))


def _took(seconds: float) -> str:
    """A stretch of time as one says it: seconds below two minutes, then minutes."""
    return f"{max(1, round(seconds))} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
