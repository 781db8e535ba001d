"""Loads config.toml and BACKCHAT_… overrides into validated tables. Each package declares its own tables.

Why one loader: a misspelt key that is silently ignored costs a streamer an evening, so every program refuses it
in a sentence that names the file, the table, the key and the nearest key that exists.
"""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from corpus.errors import SettingsError

ENVIRONMENT_PREFIX = "BACKCHAT_"
CONFIG_VARIABLE = "BACKCHAT_CONFIG"
DEFAULT_FILE = "config.toml"

# Which package owns which table. A program validates the tables it knows and leaves the others to their owner;
# a table that nobody owns is a typo. tests/test_settings.py keeps this in step with the declarations.
TABLE_OWNERS: Mapping[str, str] = MappingProxyType(
    {
        "paths": "corpus",
        "twitch": "corpus",
        "corpus": "corpus",
        "cleaning": "corpus",
        "trainer": "trainer",
        "model": "trainer",
        "sampling": "trainer",
        "bot": "bot",
        "narrator": "bot",
        "safety": "bot",
        "room": "bot",
        "web": "bot",
    }
)


class Table(BaseModel):
    """One [table] of config.toml. Frozen, so that a part can hold its table without a surprise."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    table: ClassVar[str]


class PathsTable(Table):
    """Where things are kept. Relative paths are relative to config.toml, or to the working folder without one."""

    table = "paths"
    data: Path = Path("data")
    checkpoints: Path = Path("checkpoints")

    @property
    def database(self) -> Path:
        return self.data / "chat.db"

    @property
    def status(self) -> Path:
        return self.data / "status"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def tokens(self) -> Path:
        return self.data / "tokens.json"


class TwitchTable(Table):
    """Which channels, as whom, and where Twitch is. The endpoints exist for tests and Twitch's own mock server."""

    table = "twitch"
    channels: tuple[Annotated[str, Field(pattern=r"^#?[A-Za-z0-9_]{1,25}$")], ...] = ()
    client_id: str = ""
    irc_host: str = "irc.chat.twitch.tv"
    irc_port: Annotated[int, Field(ge=1, le=65535)] = 6697
    irc_tls: bool = True
    api_url: str = "https://api.twitch.tv"
    auth_url: str = "https://id.twitch.tv"
    eventsub_url: str = "wss://eventsub.wss.twitch.tv/ws"


class CorpusTable(Table):
    """How chat is collected and kept."""

    table = "corpus"
    commit_ms: Annotated[int, Field(ge=1, le=10_000)] = 200
    commit_messages: Annotated[int, Field(ge=1, le=100_000)] = 5_000
    known_bots: tuple[str, ...] = (
        "nightbot",
        "streamelements",
        "streamlabs",
        "moobot",
        "fossabot",
        "wizebot",
        "soundalerts",
        "botrixoficial",
        "sery_bot",
        "commanderroot",
        "backchat",
    )
    collect_offline: bool = False
    keep_days: Annotated[int, Field(ge=0)] = 0


class CleaningTable(Table):
    """What of a message is fit to learn from."""

    table = "cleaning"
    longest_word: Annotated[int, Field(ge=1)] = 15
    identical_lines: Annotated[int, Field(ge=1)] = 20


CORPUS_TABLES: tuple[type[Table], ...] = (PathsTable, TwitchTable, CorpusTable, CleaningTable)

ALIKE = 0.75  # from here on a key is taken for a misspelt one

AnyTable = TypeVar("AnyTable", bound=Table)


@dataclass(frozen=True)
class Settings:
    """The validated tables. `settings[PathsTable]` is one; a main() hands each part its own and keeps the rest."""

    source: str
    tables: Mapping[type[Table], Table]

    def __getitem__(self, table: type[AnyTable]) -> AnyTable:
        return cast(AnyTable, self.tables[table])


def load_settings(
    tables: Iterable[type[Table]] = CORPUS_TABLES,
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read config.toml (`path`, else $BACKCHAT_CONFIG, else ./config.toml, else defaults alone) and the overrides.

    An override is BACKCHAT_<TABLE>__<KEY>, its value written as in TOML or as a bare string. Raises
    `SettingsError` for a file that is not TOML, and for unknown, mistyped or out-of-range settings.
    """
    environ = os.environ if environ is None else environ
    named = path or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    file = named or Path(DEFAULT_FILE)
    source = file.name
    if file.is_file():
        values = _read_toml(file)
        root = file.resolve().parent
    elif named is not None:
        raise SettingsError(f"{file}: no such file; name an existing config.toml, or leave --config out")
    else:
        values, root = {}, Path.cwd()

    owned = {table.table: table for table in tables}
    overrides = _overrides(environ)
    for name in [*values, *overrides]:
        if name not in TABLE_OWNERS:
            where = source if name in values else f"environment: {ENVIRONMENT_PREFIX}{name.upper()}__…"
            raise SettingsError(f"{where}: [{name}] is not a table{_nearest(name, TABLE_OWNERS)}")
    loaded: dict[type[Table], Table] = {}
    for name, table in owned.items():
        given = values.get(name, {})
        if not isinstance(given, dict):
            raise SettingsError(f"{source}: {name} must be a table; write [{name}] and its keys below it")
        _refuse_unknown(source, table, given, owned)
        override = overrides.get(name, {})
        _refuse_unknown("environment", table, override, owned)
        loaded[table] = _validate(source, table, given, override)
    if PathsTable in loaded:
        paths = cast(PathsTable, loaded[PathsTable])
        loaded[PathsTable] = paths.model_copy(
            update={"data": root / paths.data, "checkpoints": root / paths.checkpoints}
        )
    return Settings(source=source, tables=MappingProxyType(loaded))


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file.name}: not valid TOML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file.name}: cannot be read: {error}") from error


def _overrides(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or "__" not in variable:
            continue
        table, key = variable[len(ENVIRONMENT_PREFIX) :].lower().split("__", 1)
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        found.setdefault(table, {})[key] = value
    return found


def _refuse_unknown(
    source: str, table: type[Table], given: Mapping[str, Any], tables: Mapping[str, type[Table]]
) -> None:
    """Raises for the first key that is no setting: with the nearest one, of another table where that is far nearer."""
    for key in given:
        if key in table.model_fields:
            continue
        nearest = _nearest(key, table.model_fields)
        if not difflib.get_close_matches(key, table.model_fields, cutoff=ALIKE):
            elsewhere = {name: owner for owner, other in tables.items() for name in other.model_fields}
            for name in difflib.get_close_matches(key, elsewhere, n=1, cutoff=ALIKE):
                nearest = f"; did you mean {name} in [{elsewhere[name]}]?"
        raise SettingsError(f"{source}: [{table.table}] {key} is not a setting{nearest}")


def _validate(source: str, table: type[Table], given: dict[str, Any], override: dict[str, Any]) -> Table:
    try:
        return table.model_validate(given | override)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else "?"
        where = "environment" if key in override else source
        raise SettingsError(f"{where}: [{table.table}] {key}: {_complaint(first)}") from error


def _complaint(error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ")
    return f"{message[:1].lower()}{message[1:]}, not {error['input']!r}"


def _nearest(word: str, choices: Iterable[str]) -> str:
    choices = list(choices)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.0)
    return f"; did you mean {close[0]}?" if close else ""
