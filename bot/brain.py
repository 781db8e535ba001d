"""The voice that speaks now: newest checkpoint, swapped while it talks; word counts before there is one.

Everything slow happens off the event loop: one thread speaks, learns and unlearns in order, another loads.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bot.facts import Speaking
from corpus.errors import BackchatError
from corpus.message import ChatMessage
from trainer.checkpoint import LATEST_FILE, latest

if TYPE_CHECKING:
    from trainer.voice import Candidate, Voice

log = logging.getLogger(__name__)

POLL_S = 0.5
WAITING_REQUESTS = 6
CANDIDATES = 4
FIRST_MESSAGES = 3
GROWTH = 1.2
UPDATES = 20_000

Update = tuple[str, "ChatMessage | str"]


class NoAnswerError(Exception):
    """Nothing was generated: no voice yet, too many ask at once, or it took too long. The text says which."""


class Brain:
    """Answers with the best voice there is, as `speaker`, its own login in chat.

    `load` makes a voice of a checkpoint folder; `count` makes one of the words counted so far (None while there are
    too few); `stored` tells how many messages there are, and `removed` which ids are gone since it was last asked.
    All four run in the loading thread, so they may block. `changed` is called on the event loop after every swap.
    """

    def __init__(
        self,
        checkpoints: Path,
        *,
        speaker: str,
        load: Callable[[Path], "Voice"],
        count: Callable[[], "Voice | None"],
        stored: Callable[[], int],
        removed: Callable[[], Sequence[str]] = tuple,
        changed: Callable[[], None] = lambda: None,
        poll_s: float = POLL_S,
        waiting_requests: int = WAITING_REQUESTS,
    ) -> None:
        self._checkpoints = checkpoints
        self._name_in_chat = speaker
        self._load = load
        self._count = count
        self._stored = stored
        self._removed = removed
        self._changed = changed
        self._poll_s = poll_s
        self._waiting_requests = waiting_requests
        self._speaker = ThreadPoolExecutor(1, "speaker")
        self._loader = ThreadPoolExecutor(1, "loader")
        self._voice: Voice | None = None
        self._name: str | None = None
        self._tried: tuple[Path, int] | None = None
        self._counted = 0
        self._asked = 0
        self._loading = False
        self._meanwhile: list[Update] = []
        self._watching: asyncio.Task[None] | None = None
        self.messages = 0
        self.problem: str | None = None

    @property
    def speaking(self) -> Speaking | None:
        """What speaks now, or None while nothing can."""
        if self._voice is None:
            return None
        info = self._voice.info
        return Speaking(
            kind=info.kind,
            checkpoint=self._name,
            step=info.step,
            parameters=info.parameters,
            vocab_size=info.vocab_size,
            tokenizer=info.tokenizer,
            trained_messages=info.trained_messages,
        )

    async def start(self) -> None:
        """Begin to watch for checkpoints."""
        self._watching = asyncio.create_task(self._watch(), name="brain")

    async def close(self) -> None:
        """Stop watching and speaking; what is being generated is thrown away."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        self._speaker.shutdown(wait=False, cancel_futures=True)
        self._loader.shutdown(wait=False, cancel_futures=True)

    async def reply(
        self,
        conversation: Sequence[ChatMessage],
        prompt: str = "",
        *,
        timeout_s: float,
        candidates: int = CANDIDATES,
        seed: int | None = None,
    ) -> "list[Candidate]":
        """Several ways to go on, as the model made them. Raises `NoAnswerError`."""
        if self._voice is None:
            raise NoAnswerError("there is no voice yet")
        if self._asked >= self._waiting_requests:
            raise NoAnswerError("too many ask at once")
        deadline = time.monotonic() + timeout_s

        def generate() -> "list[Candidate]":
            from trainer.voice import Request

            # The voice is looked up here, not when asked: a swap in between is no reason to use the old one.
            if self._voice is None or time.monotonic() >= deadline:
                raise NoAnswerError(f"no answer within {timeout_s:g} s")
            request = Request(
                conversation=tuple(conversation),
                prompt=prompt,
                candidates=candidates,
                seed=seed,
                speaker=self._name_in_chat,
            )
            return self._voice.generate(request)

        self._asked += 1
        try:
            job = asyncio.get_running_loop().run_in_executor(self._speaker, generate)
            return await asyncio.wait_for(job, timeout_s)
        except TimeoutError as error:
            raise NoAnswerError(f"no answer within {timeout_s:g} s") from error
        finally:
            self._asked -= 1

    def learn(self, message: ChatMessage) -> None:
        """Feed the live memory, behind whatever is being generated."""
        self._update([("learn", message)])

    def unlearn(self, message_ids: Iterable[str]) -> None:
        """Take messages out of the live memory, before anything that is asked from now on is generated."""
        self._update([("unlearn", message_id) for message_id in message_ids])

    def _update(self, updates: list[Update]) -> None:
        if self._loading and len(self._meanwhile) < UPDATES:
            self._meanwhile += updates
        self._speaker.submit(self._apply, self._voice, updates)

    def _apply(self, voice: "Voice | None", updates: Iterable[Update]) -> None:
        if voice is None:
            return
        for what, value in updates:
            try:
                if isinstance(value, ChatMessage):
                    voice.learn(value)
                else:
                    voice.unlearn(value)
            except Exception:  # whatever is wrong with one message, the next ones are to be learned
                log.exception("the live memory could not %s a message; it goes on without", what)

    async def _watch(self) -> None:
        while True:
            try:
                await self._look()
            except BackchatError as error:
                self._complain(str(error))
            await asyncio.sleep(self._poll_s)

    async def _look(self) -> None:
        """One look at what there is: a new checkpoint, more words to count, something to unlearn."""
        loop = asyncio.get_running_loop()
        gone, self.messages = await loop.run_in_executor(self._loader, lambda: (self._removed(), self._stored()))
        if gone:
            self.unlearn(gone)
        named = await loop.run_in_executor(self._loader, self._named)
        if named is not None and named != self._tried:
            self._tried = named
            folder = named[0]
            await self._swap(lambda: self._load(folder), folder.relative_to(self._checkpoints).as_posix())
        elif self._name is None and self.messages >= max(FIRST_MESSAGES, self._counted * GROWTH):
            self._counted = self.messages
            await self._swap(self._count, None)

    def _named(self) -> tuple[Path, int] | None:
        """The checkpoint that LATEST names, and when it was named; None before the first. Raises CheckpointError."""
        folder = latest(self._checkpoints)
        return None if folder is None else (folder, (self._checkpoints / LATEST_FILE).stat().st_mtime_ns)

    async def _swap(self, make: "Callable[[], Voice | None]", name: str | None) -> None:
        """Make a voice while the old one goes on speaking, let it catch up, and let it take over."""
        loop = asyncio.get_running_loop()
        self._loading, self._meanwhile = True, []
        try:
            voice = await loop.run_in_executor(self._loader, make)
            if voice is None:
                return
            # Whatever was learned or deleted meanwhile; then the swap, between two answers.
            updates, self._meanwhile = self._meanwhile, []
            await loop.run_in_executor(self._loader, self._apply, voice, updates)
        except Exception as error:
            if name is not None and await loop.run_in_executor(self._loader, self._named) != self._tried:
                return  # outrun: while it loaded, a newer one was named and this one removed; the next look takes that
            # Whatever is wrong with a checkpoint, the voice that works keeps working.
            self._complain(
                f"{name or 'the word counts'}: {error}" if not isinstance(error, BackchatError) else str(error)
            )
            log.debug("why it did not load", exc_info=True)
            return
        finally:
            self._loading = False
        late = self._meanwhile
        self._voice, self._name, self.problem = voice, name, None
        if late:
            self._speaker.submit(self._apply, voice, late)
        self._changed()

    def _complain(self, sentence: str) -> None:
        """Say once what is wrong."""
        if sentence != self.problem:
            self.problem = sentence
            log.warning("%s; the old voice goes on" if self._voice else "%s", sentence)
