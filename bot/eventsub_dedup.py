"""Which EventSub notifications are repetitions: by Twitch's id, and by content where two sessions overlap."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

REMEMBERED_S = 600.0
REMEMBERED = 50_000


class Deduplicator:
    """Twitch delivers at least once. The same notification again has the same `message_id`; but an event that two
    sessions subscribed to comes as two notifications with an id each, so content counts as well: the n-th time a
    session brings a content is news only if no other session has brought it n times.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._ids: OrderedDict[str, float] = OrderedDict()
        self._contents: OrderedDict[bytes, tuple[float, dict[str, int]]] = OrderedDict()

    def is_new(self, session_id: str, frame: dict[str, Any]) -> bool:
        """Whether this notification has not been handled; asking counts as handling it."""
        metadata = frame.get("metadata") or {}
        self._forget_old()
        now_s = self._now()
        message_id = metadata.get("message_id")
        if message_id is not None:
            if message_id in self._ids:
                return False
            self._ids[message_id] = now_s
        key = _content(metadata.get("subscription_type", ""), (frame.get("payload") or {}).get("event"))
        _, brought = self._contents.pop(key, (now_s, {}))
        self._contents[key] = (now_s, brought)
        brought[session_id] = brought.get(session_id, 0) + 1
        return all(brought[session_id] > times for other, times in brought.items() if other != session_id)

    def __len__(self) -> int:
        return len(self._ids) + len(self._contents)

    def _forget_old(self) -> None:
        oldest_s = self._now() - REMEMBERED_S
        while self._ids and (len(self._ids) > REMEMBERED or next(iter(self._ids.values())) < oldest_s):
            self._ids.popitem(last=False)
        while self._contents and (
            len(self._contents) > REMEMBERED or next(iter(self._contents.values()))[0] < oldest_s
        ):
            self._contents.popitem(last=False)


def _content(subscription_type: str, event: Any) -> bytes:
    said = json.dumps([subscription_type, event], sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(said.encode(), digest_size=16).digest()
