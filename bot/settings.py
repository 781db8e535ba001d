"""The bot's tables of config.toml."""

from typing import Annotated

from pydantic import Field

from corpus.settings import CORPUS_TABLES, Table
from trainer.settings import TRAINER_TABLES


class BotTable(Table):
    """Who the companion is and when it answers."""

    table = "bot"
    name: Annotated[str, Field(min_length=1, max_length=25)] = "backchat"


class NarratorTable(Table):
    """When the companion talks about its own training."""

    table = "narrator"
    enabled: bool = True


class SafetyTable(Table):
    """What may leave the companion."""

    table = "safety"
    blocked: tuple[str, ...] = ()


class RoomTable(Table):
    """The local chat room, used when no Twitch channel is configured."""

    table = "room"
    audience: bool = True
    irc_port: Annotated[int, Field(ge=0, le=65535)] = 6667


class WebTable(Table):
    """The pages: room, overlay and control. Loopback unless a token is set."""

    table = "web"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8420


BOT_TABLES: tuple[type[Table], ...] = (BotTable, NarratorTable, SafetyTable, RoomTable, WebTable)
ALL_TABLES: tuple[type[Table], ...] = (*CORPUS_TABLES, *TRAINER_TABLES, *BOT_TABLES)
