"""What viewers may ask for themselves: !optout, !optin, !forgetme, !privacy, without an admin and at once.

The collector honours the first three too, whichever of the two hears them first.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Protocol

from bot.actions import Action
from bot.chat import ChatEvent, ChatterCleared, MessageReceived
from bot.commands import Command, Invocation
from corpus.consent import consent_command
from corpus.errors import CorpusError

log = logging.getLogger(__name__)


class Register(Protocol):
    """What the corpus store is to this file."""

    def opt_out(self, login: str, channel: str | None = None) -> None: ...
    def opt_in(self, login: str, channel: str | None = None) -> None: ...
    def forget(self, login: str, channel: str | None = None) -> int: ...


class People:
    """Hears every event. Clears who leaves from prompt and overlay within the event, from the database right after.

    `clear` takes a `ChatterCleared` to whoever holds messages in memory; `changed` is called when the register has
    changed; `work` runs what waits for the disk.
    """

    def __init__(
        self,
        register: Register,
        *,
        keep_days: int,
        work: Executor,
        clear: Callable[[ChatterCleared], None],
        changed: Callable[[], None],
    ) -> None:
        self._register = register
        self._keep_days = keep_days
        self._work = work
        self._clear = clear
        self._changed = changed
        self._leaving: dict[str, None] = {}

    @property
    def commands(self) -> tuple[Command, ...]:
        """Free of any cooldown: nobody should wait to be forgotten."""
        return (
            Command("privacy", "what is kept of you and how to leave", self._privacy, free=True),
            Command("optout", "keeps nothing of you from now on", _answer(OUT), free=True),
            Command("optin", "takes an opt-out back", _answer(IN), free=True),
            Command("forgetme", "deletes all you wrote", _answer(FORGOTTEN), free=True),
        )

    def on_event(self, event: ChatEvent) -> None:
        """Do what a viewer asks for. Returns at once; the database follows."""
        if not isinstance(event, MessageReceived) or event.own or event.other_room:
            return
        wish = consent_command(event.message.text)
        login = event.message.login
        if wish is None:
            return
        if wish == "optin":
            self._leaving.pop(login, None)
            self._work.submit(self._do, lambda: self._register.opt_in(login))
            return
        self._leaving[login] = None
        self._clear(ChatterCleared(event.message.channel, login, event.message.user_id))
        if wish == "optout":
            self._work.submit(self._do, lambda: self._register.opt_out(login))
        else:
            self._work.submit(self._do, lambda: self._register.forget(login))

    def has_left(self, login: str) -> bool:
        """Whether somebody has asked to leave since the start: known here before the database has answered."""
        return login in self._leaving

    def _do(self, change: Callable[[], object]) -> None:
        try:
            change()
        except CorpusError as error:
            log.error("a viewer's wish could not be written down: %s", error)
            return
        self._changed()

    def _privacy(self, asked: Invocation) -> list[Action]:
        kept = f"for {self._keep_days} days" if self._keep_days else "until you or the streamer delete them"
        return asked.answer(
            f"I keep public messages of this chat {kept}, on the streamer's own computer, to train a small language "
            "model. Never again: !optout. Delete all of yours: !forgetme."
        )


OUT = (
    "Done. Nothing new of yours is kept or learned from, and I will not talk to you. !forgetme deletes the rest, "
    "!optin undoes it."
)
IN = "Welcome back: I keep and learn from what you write from now on."
FORGOTTEN = (
    "Done. Your messages are deleted, and I will not say your words again. A new model without them is on its way."
)


def _answer(text: str) -> Callable[[Invocation], Sequence[Action]]:
    return lambda asked: asked.answer(text)
