"""Does what the companion and the narrator decide: asks the brain, tries candidates until one passes, tells the outbox.

Decides nothing itself. Also writes the bot's status file, which the live screen and the pages read.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bot.actions import Generate, Learn, Line, Say, Unlearn
from bot.brain import Brain, NoAnswerError
from bot.chat import Chat, ChatEvent, ConnectionChanged, MessageReceived, Sent
from bot.commands import short
from bot.companion import Companion
from bot.facts import Facts
from bot.games import Bets
from bot.narrator import Narrator
from bot.outbox import Outbox, Record
from bot.replies import preferred
from bot.run_watch import RunWatch
from bot.safety import Gate
from bot.web.pages import Pages
from corpus.consent import consent_command
from corpus.errors import CorpusError
from corpus.status import read_status, write_status

log = logging.getLogger(__name__)

ATTEMPTS = 3
LOOK_S = 0.5
STATUS_S = 1.0
REMEMBERED_DELETIONS = 2_000
SAID_SHOWN = 12
# The service drops a line for these reasons without anything being wrong with its words: no reason to try others.
KEPT_BACK = ("muted", "shadow", "budget", "silenced", "stopped", "withdrawn", "superseded")


class Performer:
    """`run` serves one chat until cancelled. `handlers` hear every event before the companion does."""

    def __init__(
        self,
        *,
        chat: Chat,
        companion: Companion,
        narrator: Narrator,
        brain: Brain,
        outbox: Outbox,
        gate: Gate,
        watch: RunWatch,
        pages: Pages,
        bets: Bets,
        channels: tuple[str, ...],
        reply_s: float,
        now_ms: Callable[[], int],
        status: Path,
        url: str,
        publish: Callable[[], None] = lambda: None,
        held: Callable[[], str] = lambda: "",
        withdraw: Callable[[str], None] = lambda message_id: None,
    ) -> None:
        self._chat = chat
        self._companion = companion
        self._narrator = narrator
        self._brain = brain
        self._outbox = outbox
        self._gate = gate
        self._watch = watch
        self._pages = pages
        self._bets = bets
        self._channels = channels
        self._reply_s = reply_s
        self._now_ms = now_ms
        self._status = status
        self._url = url
        self._publish = publish
        self._held = held
        self._withdraw = withdraw
        self._generating: set[asyncio.Task[None]] = set()
        self._deleted: OrderedDict[str, None] = OrderedDict()
        self._said: deque[dict[str, Any]] = deque(maxlen=SAID_SHOWN)
        self._unsaid: dict[str, Any] = {}
        self._heard = 0
        self._connection = ConnectionChanged(False, "connecting")
        self.handlers: list[Callable[[ChatEvent], None]] = [pages.on_event, self._mind_the_forgotten]
        outbox.listeners.append(self._on_record)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as together:
            together.create_task(self._chat.run(), name="chat")
            together.create_task(self._outbox.run(), name="outbox")
            together.create_task(self._hear(), name="hear")
            together.create_task(self._narrate(), name="narrate")
            together.create_task(self._report(), name="report")

    async def _hear(self) -> None:
        async for event in self._chat.events():
            try:
                self.on_event(event)
            except CorpusError as error:
                # A database that is busy or full for a moment costs one message, not the stream its companion.
                log.warning("an event was not understood in full: %s", error)

    def on_event(self, event: ChatEvent) -> None:
        """Take in one event and do what follows from it."""
        if isinstance(event, MessageReceived):
            self._heard += 1
        elif isinstance(event, ConnectionChanged):
            self._connection = event
        self.know()
        event = self._companion.understood(event)
        for handler in self.handlers:
            handler(event)
        for action in self._companion.on_event(event, self._now_ms()):
            self.do(action)

    def do(self, action: Say | Generate | Learn | Unlearn) -> None:
        if isinstance(action, Say):
            self._outbox.offer(action.line)
        elif isinstance(action, Learn):
            self._brain.learn(action.message)
        elif isinstance(action, Unlearn):
            self._take_back(action)
        else:
            task = asyncio.create_task(self._generate(action), name="generate")
            self._generating.add(task)
            task.add_done_callback(self._generating.discard)

    def know(self) -> None:
        """Bring the companion's facts up to date."""
        self._companion.facts = Facts(self._brain.messages, self._brain.speaking, self._narrator.training)

    def _take_back(self, action: Unlearn) -> None:
        """Deleted: out of the memory, and nothing is answered to it any more."""
        self._brain.unlearn(action.message_ids)
        for message_id in action.message_ids:
            self._deleted[message_id] = None
            self._outbox.withdraw(message_id)
            self._withdraw(message_id)
        while len(self._deleted) > REMEMBERED_DELETIONS:
            self._deleted.popitem(last=False)

    async def _generate(self, request: Generate) -> None:
        """Candidates until one is said, or attempts run out."""
        prompt = request.prompt
        if prompt:
            verdict = self._gate.check_prompt(prompt)
            if not verdict.allowed:
                log.info("a prompt was refused: %s", verdict.reason)
                self._fail(request)
                return
            prompt = verdict.text
        for _ in range(ATTEMPTS):
            conversation = [message for message in request.conversation if message.id not in self._deleted]
            try:
                candidates = await self._brain.reply(conversation, prompt, timeout_s=self._reply_s)
            except NoAnswerError as error:
                log.info("no answer: %s", error)
                break
            except Exception:  # a damaged model must cost an answer, not the bot
                log.exception("the voice failed; it is asked again next time")
                break
            if any(message.id in self._deleted for message in conversation):
                continue  # what was deleted meanwhile may be what they answer to
            for text in preferred(candidates, conversation, prompt):
                if request.reply_to in self._deleted:
                    return
                sent = await self._outbox.say(Line(request.channel, text, "reply", request.reply_to))
                if sent.drop_reason is None:
                    self._note_author(text)
                if sent.drop_reason is None or sent.drop_reason in KEPT_BACK:
                    return
                if not sent.drop_reason.startswith("refused:"):
                    self._fail(request)
                    return
        self._fail(request)

    def _note_author(self, text: str) -> None:
        """Mark a line on the screen as written by the model, and by which."""
        for said in reversed(self._said):
            if said["text"] == text or said["kind"] != "narration":
                said["by"] = self.voice()
                return

    def _fail(self, request: Generate) -> None:
        if request.reply_to in self._deleted:
            return
        for action in self._companion.on_failed(request):
            self.do(action)

    async def _narrate(self) -> None:
        """Follow the newest run and tell chat about it."""
        loop = asyncio.get_running_loop()
        awake = False
        while True:
            events = await loop.run_in_executor(None, self._watch.poll)
            for event in events:
                self._narrator.on_event(event, self._now_ms())
                announcement = self._bets.on_event(event)
                if announcement and not self._narrator.is_old(event):
                    for channel in self._channels:
                        self._tell(channel, announcement)
            self._pages.on_training(events)
            self.know()
            if not awake and self._connection.connected:
                awake = True
                trained = bool(self._brain.speaking and self._brain.speaking.checkpoint)
                self._narrator.on_awake(self._brain.messages, trained, self._now_ms())
            narration = self._narrator.next(self._now_ms())
            if narration is not None:
                for channel in self._channels:
                    self._tell(channel, narration.texts)
            await asyncio.sleep(LOOK_S)

    def _tell(self, channel: str, texts: tuple[str, ...]) -> None:
        """Offer the first wording that the gate lets through; the outbox says it when answers leave room."""
        for text in texts:
            offered = self._outbox.offer(Line(channel, text, "narration"))
            refused = offered.done() and (offered.result().drop_reason or "").startswith("refused:")
            if not refused:
                return

    def _on_record(self, record: Record) -> None:
        sent: Sent = record.sent
        if sent.drop_reason is None:
            self._gate.remember(record.line.text)
            self._companion.on_said(record.line, sent, record.time_ms)
            self._said.append({"ms": record.time_ms, "kind": record.line.kind, "text": record.line.text})
        elif not sent.drop_reason.startswith(("refused:", *KEPT_BACK)):
            log.info("a %s was not said: %s", record.line.kind, sent.drop_reason)
            self._unsaid = {"ms": record.time_ms, "kind": record.line.kind, "why": sent.drop_reason}

    def _mind_the_forgotten(self, event: ChatEvent) -> None:
        """Who asks to be forgotten or left alone loses bets and points too."""
        if isinstance(event, MessageReceived) and consent_command(event.message.text) in ("optout", "forgetme"):
            self._bets.forget(event.message.login)

    async def _report(self) -> None:
        while True:
            write_status(self._status, "bot", self.report())
            self._publish()
            self._pages.on_voice(self._brain.speaking)
            self._pages.on_programs(read_status(self._status, "corpus"), read_status(self._status, "trainer"))
            await asyncio.sleep(STATUS_S)

    def report(self) -> dict[str, Any]:
        """What the live screen shows of the bot."""
        return {
            "time_ms": self._now_ms(),
            "url": self._url,
            "connected": self._connection.connected,
            "detail": self._connection.detail,
            "heard": self._heard,
            "voice": self.voice(),
            "problem": self._brain.problem,
            "said": list(self._said),
            "held": self._held(),
            "unsaid": self._unsaid,
            "outbox": dict(self._outbox.counts),
        }

    def voice(self) -> str:
        """Who speaks, in a few words for the operator."""
        speaking = self._brain.speaking
        if speaking is None:
            return "none yet: too little chat"
        if speaking.checkpoint is None:
            return f"word counts of {speaking.trained_messages:,} messages, until the first checkpoint"
        return f"{speaking.kind} {speaking.checkpoint}, {short(speaking.parameters)} parameters"
