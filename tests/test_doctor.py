"""`backchat doctor` finds what is wrong and names the way to mend it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot import doctor
from bot.auth import TokenFile
from bot.doctor import Finding, Severity, shown
from corpus.settings import PathsTable, TwitchTable
from tests.fake_twitch import FakeTwitch
from tests.twitch_rig import broadcaster_signs_in, sign_in, token_file
from trainer.settings import TrainerTable


@pytest.fixture
async def twitch() -> AsyncIterator[FakeTwitch]:
    async with FakeTwitch() as fake:
        yield fake


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return token_file(tmp_path)


def settings(twitch: FakeTwitch, **more: object) -> TwitchTable:
    given = {
        "channels": ("streamer",),
        "client_id": twitch.client_id,
        "api_url": twitch.url,
        "auth_url": twitch.url,
        "eventsub_url": twitch.websocket_url,
        "irc_host": "127.0.0.1",
        "irc_port": twitch.irc.port,
        "irc_tls": False,
    }
    return TwitchTable.model_validate(given | more)


def worst(findings: list[Finding]) -> Finding:
    return max(findings, key=lambda finding: finding.severity)


async def test_a_working_twitch_is_green(twitch: FakeTwitch, tokens: TokenFile) -> None:
    sign_in(twitch, tokens)
    broadcaster_signs_in(twitch, tokens)
    found = await doctor.sign_ins(settings(twitch), tokens)
    for look in (doctor.irc, doctor.eventsub, doctor.clock):
        found += await look(settings(twitch))
    assert [finding.severity for finding in found] == [Severity.GOOD] * 5, found


async def test_nobody_signed_in_is_no_fault_but_says_how(twitch: FakeTwitch, tokens: TokenFile) -> None:
    (finding,) = await doctor.sign_ins(settings(twitch), tokens)
    assert finding.severity is Severity.MISSING
    assert finding.remedy == "`backchat login`"
    (without_client,) = await doctor.sign_ins(settings(twitch, client_id=""), tokens)
    assert "docs/twitch.md" in without_client.remedy
    (room,) = await doctor.sign_ins(settings(twitch, channels=()), tokens)
    assert room.severity is Severity.GOOD


async def test_a_dead_sign_in_and_a_missing_scope_are_told(twitch: FakeTwitch, tokens: TokenFile) -> None:
    sign_in(twitch, tokens, scopes=("user:read:chat", "user:bot"))
    lacking = worst(await doctor.sign_ins(settings(twitch), tokens))
    assert lacking.severity is Severity.BROKEN
    assert "lacks user:write:chat" in lacking.found and lacking.remedy == "`backchat login`"
    twitch.disconnect("backchat")
    dead = worst(await doctor.sign_ins(settings(twitch), tokens))
    assert "no longer valid" in dead.found
    assert not any(secret in shown(finding) for finding in (lacking, dead) for secret in twitch.secrets)


async def test_a_token_file_that_others_can_read_is_told(twitch: FakeTwitch, tokens: TokenFile) -> None:
    sign_in(twitch, tokens)
    tokens.path.chmod(0o644)
    finding = worst(await doctor.sign_ins(settings(twitch), tokens))
    assert finding.severity is Severity.BROKEN and "chmod 600" in finding.remedy


async def test_another_client_id_in_the_settings_is_told(twitch: FakeTwitch, tokens: TokenFile) -> None:
    sign_in(twitch, tokens)
    finding = worst(await doctor.sign_ins(settings(twitch, client_id="another"), tokens))
    assert "another client_id" in finding.found


async def test_a_channel_that_does_not_exist_and_a_streamer_who_is_not_signed_in_are_told(
    twitch: FakeTwitch, tokens: TokenFile
) -> None:
    sign_in(twitch, tokens)
    twitch.user("streamer")
    found = await doctor.sign_ins(settings(twitch, channels=("#Streamer", "mistyped")), tokens)
    told = {finding.found: (finding.severity, finding.remedy) for finding in found if finding.what == "channels"}
    assert told == {
        "Twitch knows no #mistyped": (Severity.BROKEN, "mend [twitch] channels in config.toml"),
        "#streamer: its streamer is not signed in, so no follows and channel points": (
            Severity.MISSING,
            "`backchat login --broadcaster`",
        ),
    }


async def test_a_conduit_without_a_secret_is_told(twitch: FakeTwitch, tokens: TokenFile) -> None:
    sign_in(twitch, tokens)
    finding = worst(await doctor.sign_ins(settings(twitch), tokens, conduit=True))
    assert (finding.severity, finding.what) == (Severity.BROKEN, "secret")
    assert finding.remedy == "`backchat login --client-secret`"


async def test_a_secret_that_is_not_right_is_told(twitch: FakeTwitch, tokens: TokenFile) -> None:
    sign_in(twitch, tokens, secret=True)
    twitch.client_secret = "changed"
    finding = worst(await doctor.sign_ins(settings(twitch), tokens))
    assert (finding.severity, finding.what, finding.remedy) == (
        Severity.BROKEN,
        "secret",
        "`backchat login --client-secret`",
    )


async def test_a_streamer_alone_is_no_companion(twitch: FakeTwitch, tokens: TokenFile) -> None:
    broadcaster_signs_in(twitch, tokens)
    found = await doctor.sign_ins(settings(twitch), tokens)
    assert [(one.severity, one.remedy) for one in found if "no companion" in one.found] == [
        (Severity.MISSING, "`backchat login`")
    ]


async def test_what_cannot_be_reached_is_red_and_says_which(twitch: FakeTwitch) -> None:
    gone = settings(twitch, irc_port=9, eventsub_url="ws://127.0.0.1:9/ws", auth_url="http://127.0.0.1:9")
    for look, name in ((doctor.irc, "IRC"), (doctor.eventsub, "EventSub"), (doctor.clock, "Twitch")):
        (finding,) = await look(gone)
        assert (finding.severity, finding.what) == (Severity.BROKEN, name)
        assert "127.0.0.1:9" in finding.found and finding.remedy


async def test_a_silent_eventsub_is_not_taken_for_a_good_one(
    twitch: FakeTwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PATIENCE_S", 0.2)
    twitch.welcomes_withheld = 1
    (finding,) = await doctor.eventsub(settings(twitch))
    assert finding.severity is Severity.BROKEN


@pytest.mark.parametrize(("skew_s", "severity"), [(0, Severity.GOOD), (20, Severity.MISSING), (-300, Severity.BROKEN)])
async def test_a_clock_that_is_wrong_is_told(twitch: FakeTwitch, skew_s: float, severity: Severity) -> None:
    twitch.clock_skew_s = skew_s
    (finding,) = await doctor.clock(settings(twitch))
    assert finding.severity is severity
    if skew_s:
        assert ("behind" if skew_s > 0 else "ahead of") in finding.found


def test_an_empty_install_has_nothing_broken(tmp_path: Path) -> None:
    paths = PathsTable(data=tmp_path / "data", checkpoints=tmp_path / "checkpoints")
    found = [
        doctor.disk(paths),
        doctor.database(paths),
        doctor.device(TrainerTable(device="cpu")),
        doctor.checkpoint(paths),
    ]
    assert all(finding.severity < Severity.BROKEN for finding in found), found
    assert all(finding.remedy for finding in found if finding.severity is Severity.MISSING)


def test_a_damaged_database_and_checkpoint_are_red(tmp_path: Path) -> None:
    paths = PathsTable(data=tmp_path / "data", checkpoints=tmp_path / "checkpoints")
    paths.data.mkdir()
    paths.checkpoints.mkdir()
    paths.database.write_bytes(b"this is no database at all" * 100)
    (paths.checkpoints / "LATEST").write_text("gone/step-000001")
    assert doctor.database(paths).severity is Severity.BROKEN
    assert doctor.checkpoint(paths).severity is Severity.BROKEN


def test_a_finding_that_names_a_table_is_shown_with_its_brackets() -> None:
    line = shown(Finding(Severity.BROKEN, "settings", "[twitch] channel is not a setting", "mend it"))
    assert "\\[twitch]" in line and line.startswith("[red]✗[/]")
