"""`python -m trainer`: watches the corpus and trains when it is time, until it is stopped."""

import logging
import os
import sys

from corpus.errors import BackchatError


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s trainer: %(message)s", stream=sys.stderr)
    from trainer.service import serve

    try:
        serve()
    except BackchatError as error:
        if os.environ.get("BACKCHAT_DEBUG"):
            raise
        print(f"backchat: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


if __name__ == "__main__":
    main()
