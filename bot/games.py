"""Bets on the loss: viewers guess how low a training run will get, the nearest win points. Pure but for its score file.

Only guesses and points are kept, no money and no channel points; who is forgotten takes theirs along.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.actions import Action
from bot.commands import Command, Invocation, count
from bot.control import write_private
from bot.facts import network_point

log = logging.getLogger(__name__)

CLOSES_AT = 0.6
HIGHEST_BET = 20.0
MOST_BETS = 1_000
PRIZES = (3, 2, 1)
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Bet:
    login: str
    name: str
    loss: float


@dataclass(slots=True)
class Score:
    name: str
    points: int = 0


class Bets:
    """One round a training run: open from its start until most of it is done, settled by its best loss.

    `on_event` follows the run's diary and gives what to announce: a list of wordings, of which the first that passes
    the gate is to be said. Scores are read from `file` at the start and written when they change.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._bets: dict[str, Bet] = {}
        self._planned_steps = 0
        self._step = 0
        self._best: float | None = None
        self._running = False
        self.scores = _read(file)
        self.commands: tuple[Command, ...] = (
            Command("bet", "guess this run's best loss, e.g. !bet 2.9; the nearest win points", self._bet),
            Command("scores", "who guesses my loss best", self._scores),
        )

    @property
    def open(self) -> bool:
        return self._running and self._step <= self._planned_steps * CLOSES_AT

    def on_event(self, event: Mapping[str, Any]) -> tuple[str, ...]:
        """Take in one event of metrics.jsonl; what to say about it, empty for nothing."""
        if event["event"] == "run_started":
            self._bets, self._best, self._step = {}, None, 0
            self._planned_steps, self._running = int(event["planned_steps"]), True
        elif event["event"] == "step":
            self._step = int(event["step"])
        elif event["event"] == "evaluation":
            point = network_point(event)
            if point is not None:
                self._step = max(self._step, point.step)
                self._best = point.nats_per_token if self._best is None else min(self._best, point.nats_per_token)
        elif event["event"] == "run_finished" and self._running:
            self._running = False
            return self._settle()
        return ()

    def forget(self, login: str) -> None:
        """Drop somebody's bet and points."""
        self._bets.pop(login, None)
        if self.scores.pop(login, None) is not None:
            self._write()

    def _bet(self, asked: Invocation) -> Sequence[Action]:
        message = asked.event.message
        if not self._running:
            return asked.answer("Nothing is training right now. Bets open when the next run begins.")
        now = "" if self._best is None else f" It is {self._best:.2f} so far, at step {self._step:,}."
        if not self.open:
            return asked.answer(f"Bets are closed for this run.{now}")
        try:
            loss = float(asked.words.replace(",", "."))
        except ValueError:
            loss = -1.0
        if not 0 < loss < HIGHEST_BET:
            return asked.answer(f"How low will my loss get in this run? Say it like this: !bet 2.9{now}")
        if len(self._bets) >= MOST_BETS and message.login not in self._bets:
            return asked.answer("That is more bets than I can count. Next run!")
        self._bets.pop(message.login, None)  # who bets anew goes to the end of the queue
        self._bets[message.login] = Bet(message.login, message.name, loss)
        return asked.answer(f"Noted: {loss:.2f}.{now} {count(len(self._bets), 'bet')} in.")

    def _scores(self, asked: Invocation) -> Sequence[Action]:
        best = sorted(self.scores.values(), key=lambda score: -score.points)[:SHOWN]
        if not best:
            return asked.answer("Nobody has guessed my loss yet. Be the first: !bet 2.9 while I train.")
        return asked.answer("Best at guessing me: " + ", ".join(f"{score.name} {score.points}" for score in best))

    def _settle(self) -> tuple[str, ...]:
        """Give out the points. Of equally near bets the earlier counts more."""
        if self._best is None or not self._bets:
            return ()
        final = self._best
        ranked = sorted(self._bets.values(), key=lambda bet: abs(bet.loss - final))
        for bet, points in zip(ranked, PRIZES, strict=False):
            score = self.scores.setdefault(bet.login, Score(bet.name))
            score.name, score.points = bet.name, score.points + points
        self._write()
        winner = ranked[0]
        counted = count(len(self._bets), "bet")
        self._bets = {}
        return (
            f"My best loss was {final:.2f}. {winner.name} said {winner.loss:.2f}, nearest of {counted}: 3 points.",
            f"My best loss was {final:.2f}; the nearest of {counted} said {winner.loss:.2f}.",
        )

    def _write(self) -> None:
        """Replace the score file; a full disk costs the scores, not the companion."""
        try:
            write_private(self._file, {login: [score.name, score.points] for login, score in self.scores.items()})
        except OSError as error:
            log.warning("%s: the scores cannot be kept: %s", self._file, error)


def _read(file: Path) -> dict[str, Score]:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return {str(login): Score(str(name), int(points)) for login, (name, points) in kept.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("%s: the scores cannot be read, they start anew: %s", file, error)
        return {}
