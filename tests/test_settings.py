"""config.toml is validated: every mistake is one sentence with file, table, key and the nearest key."""

import tomllib
from pathlib import Path

import pytest

from bot.settings import ALL_TABLES, BOT_TABLES
from corpus.errors import SettingsError
from corpus.settings import CORPUS_TABLES, TABLE_OWNERS, CorpusTable, PathsTable, load_settings
from trainer.settings import TRAINER_TABLES, TrainerTable

ROOT = Path(__file__).resolve().parent.parent


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    return file


def complaint(tmp_path: Path, text: str, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(ALL_TABLES, written(tmp_path, text), environ)
    return str(caught.value)


def test_the_shipped_config_holds_every_knob_with_its_default() -> None:
    shipped = tomllib.loads((ROOT / "config.toml").read_text(encoding="utf-8"))
    assert set(shipped) == {table.table for table in ALL_TABLES}
    for table in ALL_TABLES:
        assert set(shipped[table.table]) == set(table.model_fields), table.table
        assert table.model_validate(shipped[table.table]) == table(), table.table


def test_every_knob_in_the_shipped_config_is_explained() -> None:
    tables = (ROOT / "config.toml").read_text(encoding="utf-8").split("\n[")[1:]
    assert [table.splitlines()[0] for table in tables if "#" not in table] == []


def test_table_owners_are_the_packages_that_declare_them() -> None:
    declared = {
        table.table: owner
        for owner, tables in (("corpus", CORPUS_TABLES), ("trainer", TRAINER_TABLES), ("bot", BOT_TABLES))
        for table in tables
    }
    assert declared == dict(TABLE_OWNERS)


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    said = complaint(tmp_path, "[trainer]\ndevise = 'cpu'\n")
    assert said == "config.toml: [trainer] devise is not a setting; did you mean device?"


def test_a_key_in_the_wrong_table_is_told_where_it_belongs(tmp_path: Path) -> None:
    said = complaint(tmp_path, "[trainer]\nblock_sise = 64\n")
    assert said == "config.toml: [trainer] block_sise is not a setting; did you mean block_size in [model]?"
    assert complaint(tmp_path, "", BACKCHAT_BOT__TEMPERATURE="1").endswith("did you mean temperature in [sampling]?")


def test_an_unknown_table_names_the_nearest(tmp_path: Path) -> None:
    assert complaint(tmp_path, "[trainr]\n") == "config.toml: [trainr] is not a table; did you mean trainer?"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[trainer]\nminutes = 'five'\n", ["[trainer] minutes", "valid number", "'five'"]),
        ("[corpus]\ncommit_ms = 0\n", ["[corpus] commit_ms", "greater than or equal to 1", "0"]),
        ("[twitch]\nchannels = ['a b']\n", ["[twitch] channels", "a b"]),
        ("trainer = 3\n", ["trainer must be a table"]),
        ("[trainer\n", ["not valid TOML"]),
    ],
)
def test_wrong_values_are_refused_in_one_sentence(tmp_path: Path, text: str, words: list[str]) -> None:
    said = complaint(tmp_path, text)
    assert said.startswith("config.toml: ")
    assert "\n" not in said
    for word in words:
        assert word in said


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "[trainer]\ndevice = 'cuda'\n")
    settings = load_settings(ALL_TABLES, file, {"BACKCHAT_TRAINER__DEVICE": "cpu", "BACKCHAT_CORPUS__COMMIT_MS": "50"})
    assert settings[TrainerTable].device == "cpu"
    assert settings[CorpusTable].commit_ms == 50


def test_a_misspelt_override_is_refused_too(tmp_path: Path) -> None:
    said = complaint(tmp_path, "", BACKCHAT_TRAINER__DEVISE="cpu")
    assert said == "environment: [trainer] devise is not a setting; did you mean device?"


def test_a_program_leaves_the_tables_of_others_to_them(tmp_path: Path) -> None:
    settings = load_settings(CORPUS_TABLES, written(tmp_path, "[trainer]\nminutes = 'five'\n"), {})
    assert settings[CorpusTable].commit_ms == 200


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load_settings(ALL_TABLES, written(tmp_path, "[paths]\ndata = 'elsewhere'\n"), {})
    assert settings[PathsTable].database == tmp_path / "elsewhere" / "chat.db"


def test_a_named_file_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        load_settings(ALL_TABLES, tmp_path / "absent.toml", {})
