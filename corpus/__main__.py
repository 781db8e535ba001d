"""`python -m corpus`: the collector alone. Reads the configured channels into the database until it is stopped."""

import logging
import os
import sys

from corpus.collector import Collector
from corpus.errors import BackchatError, SettingsError
from corpus.link import Endpoint
from corpus.settings import CorpusTable, PathsTable, TwitchTable, load_settings
from corpus.store import Corpus

LOGIN_VARIABLE = "BACKCHAT_IRC_LOGIN"
TOKEN_VARIABLE = "BACKCHAT_IRC_TOKEN"  # noqa: S105 - the name of a variable, no token


def collect() -> None:
    """Run the collector with the settings of config.toml. Raises `SettingsError` where no channel is named."""
    settings = load_settings()
    twitch, corpus_table, paths = settings[TwitchTable], settings[CorpusTable], settings[PathsTable]
    if not twitch.channels:
        raise SettingsError(
            f"{settings.source}: [twitch] channels is empty, so there is nothing to collect; name a channel there, "
            "or run `backchat run` for a local room"
        )
    token = os.environ.get(TOKEN_VARIABLE, "")
    login = os.environ.get(LOGIN_VARIABLE, "")
    if token and not login:
        raise SettingsError(f"environment: {TOKEN_VARIABLE} is set but {LOGIN_VARIABLE} is not; set both or neither")
    endpoint = Endpoint(twitch.irc_host, twitch.irc_port, twitch.irc_tls, login, token)
    with Corpus.open(paths.database, known_bots=corpus_table.known_bots) as corpus:
        collector = Collector(corpus, twitch.channels, endpoint, corpus_table, paths.status)
        collector.stop_on_signals()
        collector.run()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s corpus: %(message)s", stream=sys.stderr)
    try:
        collect()
    except BackchatError as error:
        if os.environ.get("BACKCHAT_DEBUG"):
            raise
        print(f"backchat: {error}", file=sys.stderr)  # noqa: T201 - the one sentence a failed start says
        sys.exit(1)


if __name__ == "__main__":
    main()
