"""Ids for rows that have none: made from the content, so that the same log imported twice adds nothing."""

import hashlib
from collections import deque

CONTEXT = 4  # a row without a time is known by the rows before it too


class IdMaker:
    """Makes the ids of one file's rows, in order.

    A row with a time is known by channel, time, author, text, and how many such there were before in that instant.
    One without is known by the rows before it: the same passage of the same log gives the same ids wherever it is cut.
    """

    def __init__(self) -> None:
        self._stamp: int | None = None
        self._same: dict[bytes, int] = {}
        self._before: deque[bytes] = deque(maxlen=CONTEXT)

    def made(self, channel: str, login: str, text: str, sent_ms: int | None) -> str:
        digest = hashlib.blake2b(f"{channel}\0{login}\0{text}".encode("utf-8", "replace"), digest_size=8).digest()
        if sent_ms is None:
            context = hashlib.blake2b(b"".join(self._before) + digest, digest_size=12).hexdigest()
            self._before.append(digest)
            return f"~{context}"
        if sent_ms != self._stamp:
            self._stamp = sent_ms
            self._same.clear()
        nth = self._same.get(digest, 0)
        self._same[digest] = nth + 1
        return f"~{sent_ms:x}.{digest.hex()}.{nth}" if nth else f"~{sent_ms:x}.{digest.hex()}"
