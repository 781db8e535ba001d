"""What is pushed to open pages: news in order, and standing facts of which only the newest counts. Bounded a client.

A client that falls too far behind is not fed a backlog: it is given the whole present again. Knows nothing of sockets.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

Json = Mapping[str, Any]
FRAMES_WAITING = 200


def frame(kind: str, body: Json) -> str:
    return json.dumps({"kind": kind, **body}, ensure_ascii=False, separators=(",", ":"))


class Follower:
    """One open page: what it has not been sent yet."""

    def __init__(self, feed: "Feed", waiting: int) -> None:
        self._feed = feed
        self._news: deque[str] = deque()
        self._facts: dict[str, str] = {}
        self._waiting = waiting
        self._behind = True
        self._something = asyncio.Event()
        self._something.set()

    @property
    def waiting(self) -> int:
        """How many frames are kept for this page; never more than the feed's bound plus one a fact."""
        return len(self._news) + len(self._facts)

    def add(self, news: str) -> None:
        if not self._behind:
            if len(self._news) >= self._waiting:
                self._news.clear()
                self._facts.clear()
                self._behind = True
            else:
                self._news.append(news)
        self._something.set()

    def replace(self, kind: str, fact: str) -> None:
        if not self._behind:
            self._facts[kind] = fact
        self._something.set()

    async def next(self) -> list[str]:
        """The frames to send now; waits until there are any."""
        await self._something.wait()
        self._something.clear()
        if self._behind:
            self._behind = False
            return [frame("everything", self._feed.everything())]
        frames = [*self._news, *self._facts.values()]
        self._news.clear()
        self._facts.clear()
        return frames


class Feed:
    """Hands the same frames to every follower. `everything` gives the whole present as one body."""

    def __init__(self, everything: Callable[[], Json], waiting: int = FRAMES_WAITING) -> None:
        self.everything = everything
        self._waiting = waiting
        self._followers: set[Follower] = set()

    def __len__(self) -> int:
        return len(self._followers)

    def follow(self) -> Follower:
        follower = Follower(self, self._waiting)
        self._followers.add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        self._followers.discard(follower)

    def news(self, kind: str, body: Json) -> None:
        """Something that every page must see, in order."""
        text = frame(kind, body) if self._followers else ""
        for follower in self._followers:
            follower.add(text)

    def fact(self, kind: str, body: Json) -> None:
        """Something that holds until it is replaced: a page that missed the last one needs only this one."""
        text = frame(kind, body) if self._followers else ""
        for follower in self._followers:
            follower.replace(kind, text)
