"""What every open page shows: the chat as moderators left it, the training run, who speaks, what is going on.

Fed with events and facts by the bot's program; turns them into JSON for the feed. Knows neither sockets nor HTML.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from bot.chat import (
    ChatEvent,
    ChatterCleared,
    Cheered,
    ConnectionChanged,
    Followed,
    MessageDeleted,
    MessageReceived,
    PointsRedeemed,
    Raided,
    RoomCleared,
    StreamChanged,
    Subscribed,
    SubsGifted,
)
from bot.facts import Speaking
from bot.room import ACTION, EMOTES
from bot.storyline import Happening
from bot.web.curve import RunView
from bot.web.feed import Feed

LINES_KEPT = 150


class Pages:
    """The present state of all pages, and the feed of its changes.

    `allow` passes the model's samples through the gate: it gives a line as it may be shown, or None. `allow_question`
    does so for what a viewer asked, which, unlike a sample, is rightly a line of chat; without it `allow` does both.
    `simulated` tells made-up viewers from people.
    """

    def __init__(
        self,
        *,
        channel: str,
        companion: str,
        local: bool,
        allow: Callable[[str], str | None],
        allow_question: Callable[[str], str | None] | None = None,
        simulated: Callable[[str], bool] = lambda login: False,
        assets: str = "",
    ) -> None:
        self.channel = channel
        self.companion = companion
        self.local = local
        self.feed = Feed(self.everything)
        self._assets = assets
        self._allow_question = allow_question or allow
        self._simulated = simulated
        self._lines: deque[dict[str, Any]] = deque(maxlen=LINES_KEPT)
        self._run = RunView(allow)
        self._facts: dict[str, dict[str, Any]] = {}
        self._notices = 0

    def everything(self) -> dict[str, Any]:
        """All a page needs that has just been opened."""
        return {
            "channel": self.channel,
            "companion": self.companion,
            "local": self.local,
            "assets": self._assets,
            "emotes": EMOTES if self.local else {},
            "lines": list(self._lines),
            "training": self._run.body,
            **self._facts,
        }

    def on_event(self, event: ChatEvent) -> None:
        """Show what happened in chat. Everything the companion hears belongs here too, its own lines included."""
        match event:
            case MessageReceived():
                if not event.other_room:
                    self._add("line", self._line(event))
            case MessageDeleted():
                self._remove("id", event.message_id)
            case ChatterCleared():
                self._remove("login", event.login)
            case RoomCleared():
                self._lines.clear()
                self.feed.news("cleared", {})
            case ConnectionChanged():
                self._fact("chat", {"connected": event.connected, "detail": event.detail})
            case StreamChanged():
                self._fact("stream", {"online": event.online})
            case _:
                self._notices += 1
                self._add("notice", {"id": f"notice-{self._notices}", "login": "", "notice": notice(event)})

    def on_training(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take in what is new in metrics.jsonl."""
        if sum(self._run.read(event) for event in events):
            self.feed.fact("training", {"training": self._run.body})

    def on_programs(self, corpus: Mapping[str, Any], trainer: Mapping[str, Any]) -> None:
        """The status files of the collector and the trainer."""
        self._fact("programs", {"corpus": dict(corpus), "trainer": dict(trainer)})

    def on_voice(self, speaking: Speaking | None) -> None:
        """Who answers now; None before anything can."""
        self._fact("voice", {"speaking": asdict(speaking) if speaking else None})

    def on_happening(self, happening: Happening) -> None:
        """What the audience's pretend stream shows."""
        self._fact("happening", {"title": happening.title, "what": happening.kind})

    def on_audience(self, present: bool, paused: bool) -> None:
        """Whether there is a simulated audience, and whether it is quiet for now."""
        self._fact("audience", {"present": present, "paused": paused})

    def on_control(self, state: Mapping[str, Any]) -> None:
        """Mute, shadow mode, queue and refusals, as bot/web/site.py's `Controls` tells them."""
        self._fact("control", dict(state))

    def line(self, message_id: str) -> dict[str, Any] | None:
        return next((line for line in self._lines if line["id"] == message_id), None)

    def _fact(self, kind: str, body: dict[str, Any]) -> None:
        if self._facts.get(kind) != body:
            self._facts[kind] = body
            self.feed.fact(kind, {kind: body})

    def _add(self, kind: str, line: dict[str, Any]) -> None:
        self._lines.append(line)
        self.feed.news(kind, {"line": line})

    def _remove(self, key: str, value: str) -> None:
        kept = [line for line in self._lines if line.get(key) != value]
        for at, line in enumerate(kept):
            if line.get("reply", {}).get(key) == value:  # an answer stays, what it repeats of the question goes
                kept[at] = {name: part for name, part in line.items() if name != "reply"}
        self._lines.clear()
        self._lines.extend(kept)
        self.feed.news("removed", {key: value})

    def _line(self, event: MessageReceived) -> dict[str, Any]:
        message = event.message
        action = ACTION.fullmatch(message.text)
        line: dict[str, Any] = {
            "id": message.id,
            "login": message.login,
            "name": message.name,
            "text": action[1] if action else message.text,
            "at_ms": message.sent_ms,
            "badges": [badge for badge in message.badges if badge != "bot-badge"],
            "own": event.own,
        }
        if action:
            line["action"] = True
        if message.channel != self.channel:
            line["channel"] = message.channel  # the companion sits in several channels
        if self._simulated(message.login):
            line["simulated"] = True
        shift = len("\x01ACTION ") if action else 0
        emotes = [(emote.id, emote.start - shift, emote.end - shift) for emote in message.emotes]
        if shown := [emote for emote in emotes if emote[0] in EMOTES.values()]:
            line["emotes"] = shown
        if message.reply_to:
            parent = self.line(message.reply_to)
            if parent and "name" in parent:
                line["reply"] = {key: parent[key] for key in ("id", "login", "name", "text")}
                if event.own:
                    # The overlay repeats what a viewer asked only as the gate lets it through, their name with it.
                    asked = self._allow_question(parent["text"])
                    named = asked and self._allow_question(f"{parent['name']}: {asked}")
                    line["reply"]["shown"] = asked if named else None
        return line


def notice(event: ChatEvent) -> str:
    """One line for what is no message: a raid, a subscription, a cheer."""
    match event:
        case Raided():
            return f"{event.from_channel} raids with {event.viewers} viewers"
        case Subscribed():
            months = f" for {event.months} months" if event.months > 1 else ""
            return f"{event.name} subscribes{months}" + (f": {event.text}" if event.text else "")
        case SubsGifted():
            return f"{event.name} gifts {event.count} subscriptions"
        case Cheered():
            return f"{event.name} cheers {event.bits} bits"
        case Followed():
            return f"{event.name} follows"
        case PointsRedeemed():
            return f"{event.name} redeems {event.reward}"
        case _:
            return type(event).__name__
