"""Ids for rows that have none: made from the content, so that the same log imported twice adds nothing."""

import hashlib
import zlib
from collections import deque

CONTEXT = 4  # a row without a time is known by the rows before it too


class IdMaker:
    """Makes the ids of one file's rows, in order.

    A row with a time is known by channel, time, author, text, and how many like it there were in that instant. One
    without is known by the rows before it: the same passage of a log gives the same ids wherever it was cut.
    """

    def __init__(self) -> None:
        self._stamp: int | None = None
        self._instant: dict[str, int] = {}  # how many there were of each
        self._before: deque[bytes] = deque(maxlen=CONTEXT)

    def made(self, channel: str, login: str, text: str, sent_ms: int | None) -> str:
        content = f"{channel}\0{login}\0{text}".encode("utf-8", "replace")
        if sent_ms is None:
            digest = hashlib.blake2b(content, digest_size=12)
            context = b"".join(self._before)
            self._before.append(digest.digest())
            digest.update(context)
            return f"~{digest.hexdigest()}"
        if sent_ms != self._stamp:
            self._stamp = sent_ms
            self._instant.clear()
        made = f"~{sent_ms:x}.{zlib.crc32(content):08x}"  # the time first: neighbours stay neighbours on disk
        nth = self._instant.get(made, 0)
        self._instant[made] = nth + 1
        return f"{made}.{nth}" if nth else made
