"""What the companion does about what happens in chat: events, a clock and settings in; actions out. Pure.

Knows neither the model nor the service, and checks no words: that is the gate's, on the finished line.
"""

import random
import re
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from bot.actions import Action, Generate, Learn, Line, Say, Unlearn
from bot.chat import ChatEvent, ChatterCleared, MessageDeleted, MessageReceived, RoomCleared, Sent, StreamChanged
from bot.commands import LOSS, MODEL, Command, Invocation, help_command, parse
from bot.facts import Facts
from bot.settings import BotTable
from corpus.message import ChatMessage

CONVERSATION_LINES = 24
REMEMBERED_IDS = 5_000
OWN_IDS = 200
CONVERSATION_SPAN_MS = 5 * 60_000
UNPROMPTED_PAUSE_MS = 45_000

_ADDRESSED = re.compile(r"\s*@(\w{1,25})[,:]?\s+(?=!\w)")
NOTHING_READ = (
    "I have read {messages} and trained on none of it. Ask me again in a minute, I am a fast learner.",
    "My brain is still an empty file. {messages} so far: please chat, I eat text.",
    "No model yet. Somewhere a processor is warming up, and {messages} await it.",
)
SPEECHLESS = (
    "I had something, but it did not survive my own filter.",
    "Everything I came up with was worse than silence.",
    "My next-token distribution just shrugged.",
    "I got as far as a probability distribution and lost my nerve.",
)


@dataclass(slots=True)
class Channel:
    """What is remembered of one channel, all of it bounded."""

    conversation: deque[ChatMessage] = field(default_factory=lambda: deque(maxlen=CONVERSATION_LINES))
    heard: OrderedDict[str, str] = field(default_factory=OrderedDict)
    own_ids: deque[str] = field(default_factory=lambda: deque(maxlen=OWN_IDS))
    online: bool = True
    answered_ms: int | None = None
    spoke_ms: int | None = None
    lines_since_spoken: int = 0
    viewers: dict[str, deque[int]] = field(default_factory=dict)


def nobody(_message: ChatMessage) -> bool:
    """Nobody is excluded."""
    return False


class Companion:
    """Decides. `facts` is set from outside whenever the model or its training moves on.

    `excluded` tells whose messages must not be learned, quoted or answered: bots, and people who opted out.
    """

    def __init__(
        self,
        settings: BotTable,
        *,
        randomness: random.Random,
        commands: Sequence[Command] = (),
        excluded: Callable[[ChatMessage], bool] = nobody,
    ) -> None:
        self._settings = settings
        self._random = randomness
        self._excluded = excluded
        self._channels: dict[str, Channel] = {}
        names = "|".join(re.escape(name) for name in (settings.name, *settings.also_called))
        self._called = re.compile(rf"(?<!\w)@?(?:{names})(?!\w)", re.IGNORECASE)
        self._names = frozenset(name.casefold() for name in (settings.name, *settings.also_called))
        self.facts = Facts()
        say = Command("say", "makes me talk, starting with your words if you give me any", self._say)
        known = [say, LOSS, MODEL, *commands]
        known.append(help_command(settings.name, known))
        self.commands: tuple[Command, ...] = tuple(known)
        self._by_name = {name: command for command in known for name in (command.name, *command.aliases)}

    def channel(self, name: str) -> Channel:
        return self._channels.setdefault(name, Channel())

    def understood(self, event: ChatEvent) -> ChatEvent:
        """The event with a command to us laid bare: Twitch puts `@name` before what is typed as a reply.

        Only our own name, or whatever stands before a reply to a line of ours: who tells somebody else how to leave
        does not want to leave.
        """
        if not isinstance(event, MessageReceived) or event.own or event.other_room:
            return event
        message = event.message
        found = _ADDRESSED.match(message.text)
        if not found:
            return event
        to_us = message.reply_to is not None and message.reply_to in self.channel(message.channel).own_ids
        if not to_us and found.group(1).casefold() not in self._names:
            return event
        return replace(event, message=message._replace(text=message.text[found.end() :], emotes=()))

    def on_event(self, event: ChatEvent, now_ms: int) -> list[Action]:
        """What to do about one event, in order. Events must be given in the order in which they happened."""
        if isinstance(event, MessageReceived):
            return self._on_message(event, now_ms)
        if isinstance(event, MessageDeleted):
            return self._forget(event.channel, lambda message_id, _login: message_id == event.message_id)
        if isinstance(event, ChatterCleared):
            return self._forget(event.channel, lambda _id, login: login == event.login)
        if isinstance(event, RoomCleared):
            return self._forget(event.channel, lambda _id, _login: True)
        if isinstance(event, StreamChanged):
            self.channel(event.channel).online = event.online
        return []

    def on_said(self, line: Line, sent: Sent, now_ms: int) -> None:
        """A line of ours arrived in chat."""
        here = self.channel(line.channel)
        if sent.message_id is not None:
            here.own_ids.append(sent.message_id)
        here.spoke_ms = now_ms
        here.lines_since_spoken = 0

    def on_failed(self, request: Generate) -> list[Action]:
        """Nothing fit to say came of a request: the one who asked gets the cooldown back, and an excuse."""
        here = self.channel(request.channel)
        here.answered_ms = None
        if request.login and here.viewers.get(request.login):
            here.viewers[request.login].pop()
        if not request.excuse:
            return []
        return [Say(Line(request.channel, request.excuse, request.kind, reply_to=request.reply_to))]

    def _on_message(self, event: MessageReceived, now_ms: int) -> list[Action]:
        message = event.message
        here = self.channel(message.channel)
        if event.other_room:
            return []
        if event.own:
            here.own_ids.append(message.id)
            here.conversation.append(message)
            return []
        excluded = self._excluded(message)
        parsed = parse(message.text)
        if parsed is not None:
            return self._on_command(event, *parsed, excluded=excluded, now_ms=now_ms)
        if excluded or not self._awake(here):
            return []
        here.conversation.append(message)
        self._heard(here, message)
        here.lines_since_spoken += 1
        actions: list[Action] = [Learn(message)]
        if self._called.search(message.text) or (message.reply_to in here.own_ids):
            actions += self._answer(event, "", "reply", now_ms)
        elif self._may_talk_unprompted(here, now_ms):
            here.lines_since_spoken = 0
            here.spoke_ms = now_ms
            actions.append(Generate(message.channel, tuple(here.conversation)))
        return actions

    def _on_command(
        self, event: MessageReceived, name: str, words: str, *, excluded: bool, now_ms: int
    ) -> list[Action]:
        command = self._by_name.get(name)
        here = self.channel(event.message.channel)
        if command is None:
            return []
        asked = Invocation(command.name, words, event, self.facts, now_ms)
        self._heard(here, event.message)
        if command.free:
            return list(command.run(asked))
        if excluded or not self._awake(here) or (command.moderators_only and not asked.privileged):
            return []
        if command.name != "say" and not self._charge(event, now_ms):
            return []
        return list(command.run(asked))

    def _say(self, asked: Invocation) -> list[Action]:
        return self._answer(asked.event, asked.words, "command", asked.now_ms)

    def _answer(self, event: MessageReceived, prompt: str, kind: str, now_ms: int) -> list[Action]:
        message = event.message
        here = self.channel(message.channel)
        if not self._charge(event, now_ms):
            return []
        if self.facts.speaking is None:
            messages = f"{self.facts.messages:,} message{'' if self.facts.messages == 1 else 's'}"
            text = self._random.choice(NOTHING_READ).format(messages=messages)
            return [Say(Line(message.channel, text, "command", reply_to=message.id))]
        return [
            Generate(
                message.channel,
                tuple(here.conversation),
                "command" if kind == "command" else "reply",
                prompt=prompt,
                reply_to=message.id,
                login=message.login,
                excuse=self._random.choice(SPEECHLESS),
            )
        ]

    def _charge(self, event: MessageReceived, now_ms: int) -> bool:
        """Whether this viewer may be answered now; if so their cooldown and everybody's begin anew.

        The broadcaster and moderators do not wait, but a conversation with one person is bounded for all but the
        broadcaster: two bots that answer each other would otherwise never stop.
        """
        here = self.channel(event.message.channel)
        times = here.viewers.setdefault(event.message.login, deque())
        while times and times[0] <= now_ms - CONVERSATION_SPAN_MS:
            times.popleft()
        if "broadcaster" not in event.roles:
            if len(times) >= self._settings.conversation_turns:
                return False
            if "moderator" not in event.roles:
                if times and now_ms - times[-1] < self._settings.viewer_cooldown_s * 1000:
                    return False
                if here.answered_ms is not None and now_ms - here.answered_ms < self._settings.cooldown_s * 1000:
                    return False
        times.append(now_ms)
        here.answered_ms = now_ms
        if len(here.viewers) > REMEMBERED_IDS:
            here.viewers = {login: seen for login, seen in here.viewers.items() if seen}
        return True

    def _may_talk_unprompted(self, here: Channel, now_ms: int) -> bool:
        if not self._settings.talk_after_lines or self.facts.speaking is None:
            return False
        if here.spoke_ms is not None and now_ms - here.spoke_ms < UNPROMPTED_PAUSE_MS:
            return False
        return here.lines_since_spoken >= self._settings.talk_after_lines

    def _heard(self, here: Channel, message: ChatMessage) -> None:
        """Remember whose message it was, so that what answers to it can be taken back; commands too."""
        here.heard[message.id] = message.login
        if len(here.heard) > REMEMBERED_IDS:
            here.heard.popitem(last=False)

    def _awake(self, here: Channel) -> bool:
        return here.online or self._settings.offline

    def _forget(self, channel: str, gone: Callable[[str, str], bool]) -> list[Action]:
        here = self.channel(channel)
        kept = [message for message in here.conversation if not gone(message.id, message.login)]
        ids = [message.id for message in here.conversation if gone(message.id, message.login)]
        here.conversation.clear()
        here.conversation.extend(kept)
        ids += [message_id for message_id, login in here.heard.items() if gone(message_id, login)]
        for message_id in ids:
            here.heard.pop(message_id, None)
        return [Unlearn(tuple(dict.fromkeys(ids)))] if ids else []
