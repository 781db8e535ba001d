"""`python -m bot`: the companion in its chat, with its pages. One sentence and exit code 1 when it cannot start."""

import asyncio
import logging
import os
import sys

from bot.program import serve
from bot.settings import ALL_TABLES
from corpus.errors import BackchatError
from corpus.settings import load_settings


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("rustbpe").setLevel(logging.WARNING)  # tells every merge
    try:
        asyncio.run(serve(load_settings(ALL_TABLES)))
    except BackchatError as error:
        if os.environ.get("BACKCHAT_DEBUG"):
            raise
        print(f"backchat: {error}", file=sys.stderr)  # noqa: T201 - the one sentence a failed start says
        sys.exit(1)
    # All is closed and flushed. A thread that is still reading weights must not hold up the end for seconds.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
