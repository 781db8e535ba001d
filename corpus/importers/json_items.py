"""The items of one long JSON array, one at a time, so that a log of gigabytes needs no more memory than one comment."""

import json
import re
from collections.abc import Iterator
from typing import IO, Any

CHUNK = 256 * 1024
LONGEST_ITEM = 4 * 1024 * 1024  # a comment has a few hundred characters
_BETWEEN = re.compile(r"[\s,]*")
_decoder = json.JSONDecoder()


def json_items(text: IO[str], start: re.Pattern[str]) -> Iterator[Any]:
    """Every item of the first array that `start`, which ends with its bracket, finds.

    Raises `ValueError` when it breaks off, and for an item of more than LONGEST_ITEM characters.
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
            if len(buffer) - place > LONGEST_ITEM:
                raise ValueError("what stands there is no comment") from None
            more = text.read(wanted)
            if not more:
                raise ValueError("the file breaks off") from None
            wanted *= 2  # one huge item is not decoded again for every small piece
            buffer, place = buffer[place:] + more, 0
            continue
        wanted = CHUNK
        yield item
