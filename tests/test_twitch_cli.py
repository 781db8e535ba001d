"""`backchat login`, `doctor` and `logout` as a person types them, against the fake Twitch."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.auth import COMPANION_SCOPES, TokenFile
from tests.fake_twitch import FakeTwitch
from tests.twitch_rig import eventually, sign_in, token_file

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
async def twitch() -> AsyncIterator[FakeTwitch]:
    async with FakeTwitch() as fake:
        yield fake


@pytest.fixture
def config(twitch: FakeTwitch, tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    twitch.user("streamer")
    file.write_text(
        f'[twitch]\nchannels = ["streamer"]\nclient_id = "{twitch.client_id}"\napi_url = "{twitch.url}"\n'
        f'auth_url = "{twitch.url}"\neventsub_url = "{twitch.websocket_url}"\n'
        f'irc_host = "127.0.0.1"\nirc_port = {twitch.irc.port}\nirc_tls = false\n[trainer]\ndevice = "cpu"\n'
    )
    (tmp_path / "data").mkdir()
    return file


@pytest.fixture
def tokens(config: Path) -> TokenFile:
    return token_file(config.parent / "data")


def without_client_id(config: Path, client_id: str) -> None:
    config.write_text(config.read_text().replace(client_id, ""))


async def start(config: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot.cli",
        "--config",
        str(config),
        *arguments,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def said(config: Path, *arguments: str, typed: str = "") -> tuple[int, str]:
    process = await start(config, *arguments)
    output, _ = await process.communicate(typed.encode())
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_a_streamer_signs_in_looks_and_signs_out(twitch: FakeTwitch, config: Path, tokens: TokenFile) -> None:
    process = await start(config, "login")
    await eventually(lambda: bool(twitch.devices), within_s=30)
    twitch.approver = twitch.user("backchat")
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    assert "Open http://127.0.0.1" in output and "/activate" in output
    assert "Signed in as backchat" in output
    account = tokens.read().by_login("backchat")
    assert account is not None and set(account.scopes) == set(COMPANION_SCOPES)

    code, looked = await said(config, "doctor")
    assert code == 0, looked
    assert "backchat (speaks)" in looked and "takes readers in" in looked and "welcomes a listener" in looked

    code, left = await said(config, "logout")
    assert code == 0, left
    assert "Signed out backchat." in left
    assert account.access_token not in twitch.tokens
    assert tokens.read().accounts == {}
    everything = output + looked + left
    assert not any(secret in everything for secret in twitch.secrets)


async def test_a_wrong_client_secret_is_told_at_once_and_not_kept(
    twitch: FakeTwitch, config: Path, tokens: TokenFile
) -> None:
    code, output = await said(config, "login", "--client-secret", typed="notthesecret\n")
    assert code == 1
    assert "invalid client secret" in output and "notthesecret" not in output
    assert "Traceback" not in output
    assert not tokens.path.exists()


async def test_without_a_client_id_login_says_where_to_get_one(twitch: FakeTwitch, config: Path) -> None:
    without_client_id(config, twitch.client_id)
    code, output = await said(config, "login")
    assert code == 1
    assert "[twitch] client_id is empty" in output and "docs/twitch.md" in output


async def test_the_streamer_who_speaks_with_their_own_account_keeps_one_token_for_both(
    twitch: FakeTwitch, config: Path, tokens: TokenFile
) -> None:
    sign_in(twitch, tokens, "streamer")
    twitch.approver = twitch.user("streamer")
    code, output = await said(config, "login", "--broadcaster")
    assert code == 0, output
    signed_in = tokens.read()
    account = signed_in.by_login("streamer")
    assert account is not None and signed_in.companion == account.user_id
    assert {"user:write:chat", "moderator:read:followers", "channel:read:redemptions"} <= set(account.scopes)
