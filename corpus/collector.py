"""Chat into the database, for weeks: links → lines → consent → small batches → one commit each.

One thread and no queue. While SQLite is slow nothing is read, so what waits stays with the server and memory stays
flat whatever arrives.
"""

import logging
import random
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.consent import consent_command
from corpus.errors import CorpusError
from corpus.irc import IrcLine, chat_of, parse_line
from corpus.link import CHANNELS_A_LINK, Endpoint, Link
from corpus.message import ChatMessage, ClearedChatter, ClearedRoom, DeletedMessage, Moderation
from corpus.settings import CorpusTable
from corpus.status import write_status
from corpus.store import CLEARED_MS, Corpus

log = logging.getLogger(__name__)

STATUS_MS = 1_000
HOUSEKEEPING_MS = 10 * 60 * 1000
SLOW_COMMIT_MS = 1_000
RETRY_S = 1.0


@dataclass
class Tally:
    """What the collector has done since it started."""

    stored: int = 0
    duplicates: int = 0
    refused: int = 0
    removed: int = 0
    offline: int = 0
    gaps: int = 0
    commits: int = 0


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Collector:
    """Reads channels until it is stopped. `now_ms` is the wall clock, `steady_ms` one that never jumps."""

    def __init__(
        self,
        corpus: Corpus,
        channels: Sequence[str],
        endpoint: Endpoint,
        settings: CorpusTable,
        status: Path,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        steady_ms: Callable[[], int] = _monotonic_ms,
        chance: random.Random | None = None,
    ) -> None:
        self._corpus = corpus
        self._settings = settings
        self._status = status
        self._now_ms = now_ms
        self._steady_ms = steady_ms
        names = list(dict.fromkeys(name.lstrip("#").lower() for name in channels))
        chance = chance or random.Random()
        self.channels = names
        self._names = frozenset(names)
        self.links = [
            Link(endpoint, names[start : start + CHANNELS_A_LINK], now_ms=steady_ms, chance=chance)
            for start in range(0, len(names), CHANNELS_A_LINK)
        ]
        self.tally = Tally()
        self._since_ms = now_ms()
        self._pending: list[ChatMessage | Moderation] = []
        self._pending_since = 0
        self._heard: dict[str, int] = {}
        self._joined: set[str] = set()
        self._stalled = ""
        self._stopping = False
        self._selector = selectors.DefaultSelector()
        self._registered: dict[Link, socket.socket] = {}
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ, None)

    def stop(self) -> None:
        """Finish: commit what is there and return from `run`. Safe from a signal handler or another thread."""
        self._stopping = True
        try:
            self._waker.send(b"x")
        except OSError:
            return  # it has been woken often enough already, or has gone

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT stop the collector cleanly."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: self.stop())

    def run(self) -> None:
        """Collect until `stop`. What was received is committed before this returns."""
        status_due = housekeeping_due = self._steady_ms()
        try:
            while not self._stopping:
                for link in self.links:
                    link.tick()
                    self._watch(link)
                self._wait()
                for link in self.links:
                    for line in link.receive():
                        self._on_line(link, line)
                    self._watch(link)
                now = self._steady_ms()
                if self._due(now):
                    self._commit()
                if now >= status_due:
                    status_due = now + STATUS_MS
                    self._write_status()
                if now >= housekeeping_due:
                    housekeeping_due = now + HOUSEKEEPING_MS
                    self._corpus.housekeeping(self._settings.keep_days)
            self._commit()
        finally:
            for link in self.links:
                link.close()
            self._write_status(stopped=True)
            self._selector.close()
            self._wake.close()
            self._waker.close()

    def _wait(self) -> None:
        if any(link.more for link in self.links):
            return
        waits = [STATUS_MS, *(link.due_ms() for link in self.links)]
        if self._pending:
            waits.append(self._pending_since + self._settings.commit_ms - self._steady_ms())
        for key, _ in self._selector.select(max(0, min(waits)) / 1000):
            if key.fileobj is self._wake:
                self._wake.recv(4096)

    def _watch(self, link: Link) -> None:
        """Keep the selector in step with the link's socket."""
        known = self._registered.get(link)
        if known is link.socket:
            return
        if known is not None:
            self._selector.unregister(known)
            del self._registered[link]
            self._joined.difference_update(link.channels)
        if link.socket is not None:
            self._selector.register(link.socket, selectors.EVENT_READ, link)
            self._registered[link] = link.socket

    def _due(self, now: int) -> bool:
        if not self._pending:
            return bool(self._heard) and not self._stopping and now - self._pending_since >= self._settings.commit_ms
        return (
            len(self._pending) >= self._settings.commit_messages
            or now - self._pending_since >= self._settings.commit_ms
        )

    def _on_line(self, link: Link, raw: str) -> None:
        line = parse_line(raw)
        if line is None:
            return
        match line.command:
            case "PRIVMSG" | "CLEARMSG" | "CLEARCHAT":
                self._on_chat(line)
            case "PING":
                link.send(f"PONG :{line.trailing or ''}")
            case "PONG":
                ago = link.answered()
                if ago is not None:
                    self._hear(link.channels, self._now_ms() - ago)
            case "001":
                link.welcome()
            case "JOIN" | "366":
                channel = line.parameters[-1].lstrip("#").lower() if line.parameters else line.trailing or ""
                self._on_joined(channel, self._now_ms())
            case "RECONNECT":
                link.drop("the server asked us to reconnect", soon=True)
            case "NOTICE":
                log.info("the server says: %s", line.trailing)

    def _on_chat(self, line: IrcLine) -> None:
        now = self._now_ms()
        event = chat_of(line, fallback_ms=now)
        if event is None or event.channel not in self._names:
            return
        if not self._pending:
            self._pending_since = self._steady_ms()
        self._pending.append(event)
        sent_ms = event.sent_ms if isinstance(event, ChatMessage) else event.at_ms
        heard_ms = now if sent_ms is None else min(now, sent_ms)
        self._on_joined(event.channel, heard_ms)  # chat may come before the server's word that we are in
        self._heard[event.channel] = heard_ms

    def _on_joined(self, channel: str, at_ms: int) -> None:
        if channel in self._joined or channel not in self._names:
            return
        self._joined.add(channel)
        gap = self._corpus.listening(channel, at_ms)
        if gap is not None:
            self.tally.gaps += 1
            log.warning("#%s: nobody listened for %.1f s", channel, (gap.ended_ms - gap.began_ms) / 1000)

    def _hear(self, channels: Sequence[str], at_ms: int) -> None:
        for channel in channels:
            if channel in self._joined:
                self._heard[channel] = max(at_ms, self._heard.get(channel, 0))

    def _commit(self) -> None:
        """Store what is pending, waiting as long as it takes: nothing is read meanwhile, nothing is thrown away."""
        started = self._steady_ms()
        while self._pending or self._heard:
            try:
                self._store()
                break
            except CorpusError as error:
                if self._stopping:
                    raise
                if str(error) != self._stalled:
                    log.error("%s; chat waits with the server until it is stored", error)
                self._stalled = str(error)
                self._write_status()
                time.sleep(RETRY_S)
        took = self._steady_ms() - started
        if self._stalled or took > SLOW_COMMIT_MS:
            log.warning("storing took %.1f s; chat waited with the server meanwhile", took / 1000)
        self._stalled = ""
        self._pending_since = self._steady_ms()

    def _store(self) -> None:
        done = Tally()
        with self._corpus.transaction():
            batch: list[ChatMessage] = []
            for event in self._pending:
                if isinstance(event, ChatMessage) and not event.text.startswith("!"):
                    batch.append(event)
                    continue
                self._append(batch, done)
                batch = []
                self._carry_out(event, done)
            self._append(batch, done)
            self._corpus.heard(self._heard)
        self._pending, self._heard = [], {}
        tally = self.tally
        tally.stored += done.stored
        tally.duplicates += done.duplicates
        tally.refused += done.refused
        tally.removed += done.removed
        tally.offline += done.offline
        tally.commits += 1

    def _append(self, batch: list[ChatMessage], done: Tally) -> None:
        if not batch:
            return
        if not self._settings.collect_offline:
            offline = self._corpus.offline_channels()
            kept = [message for message in batch if message.channel not in offline] if offline else batch
            done.offline += len(batch) - len(kept)
            batch = kept
        appended = self._corpus.append(batch, live=True)
        done.stored += appended.kept
        done.duplicates += appended.duplicates
        done.refused += appended.refused

    def _carry_out(self, event: ChatMessage | Moderation, done: Tally) -> None:
        """A command about consent, or something a moderator took away."""
        match event:
            case ChatMessage():
                match consent_command(event.text):
                    case "optout":
                        self._corpus.opt_out(event.login, user_id=event.user_id)
                    case "optin":
                        self._corpus.opt_in(event.login, user_id=event.user_id)
                    case "forgetme":
                        done.removed += self._corpus.forget(event.login, user_id=event.user_id)
                    case None:
                        self._append([event], done)
            case DeletedMessage():
                done.removed += self._corpus.delete_message(event.message_id)
            case ClearedChatter():
                done.removed += self._corpus.delete_chatter(event.channel, event.login, until_ms=event.at_ms)
            case ClearedRoom():
                at_ms = self._now_ms() if event.at_ms is None else event.at_ms
                done.removed += self._corpus.clear_channel(event.channel, since_ms=at_ms - CLEARED_MS, until_ms=at_ms)

    def _write_status(self, *, stopped: bool = False) -> None:
        tally = self.tally
        write_status(
            self._status,
            "corpus",
            {
                "state": "stopped" if stopped else "stalled" if self._stalled else "collecting",
                "detail": self._stalled or "; ".join(dict.fromkeys(link.detail for link in self.links)),
                "connected": not stopped and bool(self.links) and all(link.welcomed for link in self.links),
                "channels": self.channels,
                "joined": sorted(self._joined),
                "since_ms": self._since_ms,
                "at_ms": self._now_ms(),
                "messages_stored": tally.stored,
                "duplicates": tally.duplicates,
                "refused": tally.refused,
                "removed": tally.removed,
                "offline": tally.offline,
                "gaps": tally.gaps,
                "commits": tally.commits,
            },
        )
