"""Train or validation, for ever: decided by channel and half-hour, never by a shuffle. Pure.

A message never changes sides as the log grows, neighbours and copypasta waves stay together, and the losses of
different weeks can be compared.
"""

import hashlib
from functools import lru_cache
from typing import Literal

Side = Literal["train", "validation"]

BLOCK_MS = 30 * 60 * 1000
BLOCKS_A_ROUND = 5  # one of five blocks validates: 20 %
YOUNG_BLOCKS = 2
YOUNG_BLOCK_MS = 10 * 1000
YOUNG_VALIDATION_BLOCK = 2  # early enough that a loss can be told after half a minute
ROWS_A_BLOCK = 500


def side_of(channel: str, sent_ms: int | None, *, position: int = 0, began_ms: int | None = None) -> Side:
    """The side of one message.

    Of every five half-hours on end one validates, which one is decided by a hash, so that even a log of three
    hours has both sides. `position` counts a channel's rows without a time, which are blocked by it instead.
    `began_ms` is when a channel's first message arrived live: in that half-hour and the next, blocks are ten
    seconds long and every fifth validates, so that an empty install can measure itself after half a minute.
    """
    if sent_ms is None:
        return _block_side(channel, "row", position // ROWS_A_BLOCK)
    if began_ms is not None and 0 <= sent_ms // BLOCK_MS - began_ms // BLOCK_MS < YOUNG_BLOCKS:
        young = (sent_ms - began_ms) // YOUNG_BLOCK_MS
        return "validation" if young % BLOCKS_A_ROUND == YOUNG_VALIDATION_BLOCK else "train"
    return _block_side(channel, "time", sent_ms // BLOCK_MS)


@lru_cache(maxsize=4096)
def _block_side(channel: str, kind: str, block: int) -> Side:
    a_round, place = divmod(block, BLOCKS_A_ROUND)
    digest = hashlib.blake2b(f"{channel}\0{kind}\0{a_round}".encode(), digest_size=8).digest()
    return "validation" if int.from_bytes(digest, "big") % BLOCKS_A_ROUND == place else "train"
