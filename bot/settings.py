"""The bot's tables of config.toml."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from bot.narrator_lines import PLACEHOLDERS, Moment, placeholders
from corpus.settings import CORPUS_TABLES, Table
from trainer.settings import TRAINER_TABLES


class BotTable(Table):
    """Who the companion is and when it answers."""

    table = "bot"
    name: Annotated[str, Field(min_length=1, max_length=25)] = "backchat"
    also_called: tuple[Annotated[str, Field(min_length=2, max_length=25)], ...] = ()
    cooldown_s: Annotated[float, Field(ge=0)] = 2.0
    viewer_cooldown_s: Annotated[float, Field(ge=0)] = 8.0
    conversation_turns: Annotated[int, Field(ge=1)] = 12
    talk_after_lines: Annotated[int, Field(ge=0)] = 30
    offline: bool = False
    reply_s: Annotated[float, Field(gt=0, le=60)] = 8.0
    scale: Literal["websocket", "conduit"] = "websocket"
    shard: Annotated[int, Field(ge=0)] = 0
    shards: Annotated[int, Field(ge=1, le=20_000)] = 1


class NarratorTable(Table):
    """When the companion talks about its own training."""

    table = "narrator"
    enabled: bool = True
    every_s: Annotated[float, Field(ge=0)] = 25.0
    lines: dict[Moment, tuple[str, ...]] = Field(default_factory=dict)

    @field_validator("lines")
    @classmethod
    def _only_known_placeholders(cls, lines: dict[Moment, tuple[str, ...]]) -> dict[Moment, tuple[str, ...]]:
        for moment, texts in lines.items():
            for text in texts:
                for name in placeholders(text) - PLACEHOLDERS:
                    raise ValueError(f"{moment} names {{{name}}}; it may name {', '.join(sorted(PLACEHOLDERS))}")
        return lines


class SafetyTable(Table):
    """What may leave the companion."""

    table = "safety"
    level: Literal["strict", "relaxed"] = "strict"
    blocked: tuple[Annotated[str, Field(min_length=2)], ...] = ()
    allowed: tuple[Annotated[str, Field(min_length=2)], ...] = ()
    phrases: Path | None = None
    bot_commands: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    lone_emotes: bool = False
    speak: Literal["auto", "live", "shadow"] = "auto"
    lines_a_minute: Annotated[int, Field(ge=0)] = 20
    memorised_words: Annotated[int, Field(ge=6, le=50)] = 8
    memorised_people: Annotated[int, Field(ge=1)] = 3
    lines_a_hour: Annotated[int, Field(ge=0)] = 400

    @field_validator("phrases", mode="before")
    @classmethod
    def _none_is_written_as_nothing(cls, path: object) -> object:
        return None if path == "" else path


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
