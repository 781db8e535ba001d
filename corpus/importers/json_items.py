"""The items of one long JSON array, one at a time, so that a log of gigabytes needs no more memory than one comment."""

import json
import re
from collections.abc import Iterator
from typing import IO, Any

CHUNK = 256 * 1024
_BETWEEN = re.compile(r"[\s,]*")
_decoder = json.JSONDecoder()


def json_items(text: IO[str], start: re.Pattern[str]) -> Iterator[Any]:
    """Every item of the first array that `start`, which ends with its bracket, finds.

    Raises `ValueError` when it breaks off.
    """
    buffer = ""
    found = None
    while found is None:
        more = text.read(CHUNK)
        if not more:
            raise ValueError("the array of comments was not found")
        buffer += more
        found = start.search(buffer)
        if found is None:
            buffer = buffer[-4096:]
    buffer = buffer[found.end() :]
    place = 0
    wanted = CHUNK
    while True:
        between = _BETWEEN.match(buffer, place)
        place = between.end() if between else place
        if place < len(buffer) and buffer[place] == "]":
            return
        try:
            item, place = _decoder.raw_decode(buffer, place)
        except ValueError:
            more = text.read(wanted)
            if not more:
                raise ValueError("the file breaks off") from None
            wanted = min(wanted * 2, 1 << 26)  # one huge item is not decoded again for every small piece
            buffer, place = buffer[place:] + more, 0
            continue
        wanted = CHUNK
        yield item
