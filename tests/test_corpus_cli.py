"""`backchat import`, `forget`, `optout` and `optin` as an operator types them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.cli import app
from corpus.errors import CorpusError, ImportFileError
from corpus.store import Corpus

LOG = "# Start logging at 2024-07-01 12:00:00 Sommerzeit\n[12:00:00] ann: hi\n[12:00:01] bob: hello\ntorn\n"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BACKCHAT_PATHS__DATA", str(tmp_path / "data"))
    file = tmp_path / "log.txt"
    file.write_text(LOG)
    return file


def backchat(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    if result.exception:
        raise result.exception
    return result.output


def kept(log: Path) -> list[tuple[str, str, int | None]]:
    with Corpus.open(log.parent / "data" / "chat.db", read_only=True) as corpus:
        return [(one.message.channel, one.message.login, one.message.sent_ms) for one in corpus.messages()]


def test_an_import_takes_the_channel_and_the_zone_that_it_is_given(log: Path) -> None:
    told = backchat("import", str(log), "--channel", "#Den", "--timezone", "Europe/Berlin")
    assert "Chatterino" in told and "log.txt: 1 × no stamp, line 4" in told
    noon_in_berlin = 1_719_828_000_000
    assert kept(log) == [("den", "ann", noon_in_berlin), ("den", "bob", noon_in_berlin + 1000)]


def test_a_dry_run_leaves_no_database(log: Path) -> None:
    assert "Would be imported" in backchat("import", str(log), "--channel", "den", "--dry-run")
    assert not (log.parent / "data").exists()


def test_what_is_asked_wrongly_is_answered_in_one_sentence(log: Path) -> None:
    for words, complaint in (
        (["import", str(log)], "does not say which channel it is of; name it with --channel"),
        (["import", str(log), "--channel", "den", "--timezone", "Europe/Berlinn"], "no such time zone"),
        (["import", str(log), "--channel", "den", "--strict"], "log.txt:4: no stamp"),
        (["import", str(log.parent / "nothing-*.txt")], "no such file, folder or pattern"),
    ):
        with pytest.raises(ImportFileError, match=complaint):
            backchat(*words)


def test_a_folder_with_a_file_that_names_no_channel_gives_the_rest(log: Path) -> None:
    (log.parent / "other.jsonl").write_text('{"ts": 1704110400, "channel": "lair", "user": "cat", "text": "hi"}\n')
    told = backchat("import", str(log.parent))
    assert "left out: log.txt: does not say which channel it is of" in told
    assert [channel for channel, _, _ in kept(log)] == ["lair"]


def test_somebody_is_opted_out_let_in_and_forgotten_by_name(log: Path) -> None:
    backchat("import", str(log), "--channel", "den")
    assert backchat("optout", "@Ann").startswith("Opted out")
    assert [login for _, login, _ in kept(log)] == ["bob"]
    assert backchat("optin", "ann").startswith("Opted in")
    assert [login for _, login, _ in kept(log)] == ["ann", "bob"]
    assert "Removed 1 message;" in backchat("forget", "Ann", "--channel", "den")
    assert [login for _, login, _ in kept(log)] == ["bob"]
    backchat("import", str(log), "--channel", "den")
    assert [login for _, login, _ in kept(log)] == ["bob"]


def test_a_name_or_channel_that_cannot_be_one_is_no_wish(log: Path) -> None:
    backchat("import", str(log), "--channel", "den")
    for command in ("forget", "optout", "optin"):
        with pytest.raises(CorpusError, match="no chat of that channel; there are den"):
            backchat(command, "ann", "--channel", "dem")
        with pytest.raises(CorpusError, match="write the login name"):
            backchat(command, " @ ")
    assert len(kept(log)) == 2
