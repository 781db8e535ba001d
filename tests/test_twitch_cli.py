"""`backchat login`, `doctor` and `logout` as a person types them, against the fake Twitch."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from bot.auth import BROADCASTER_SCOPES, COMPANION_SCOPES, TokenFile
from bot.twitch_cli import _picture
from tests.fake_twitch import FakeTwitch
from tests.twitch_rig import broadcaster_signs_in, eventually, sign_in, token_file

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


def change(config: Path, before: str, after: str) -> None:
    assert before in config.read_text()
    config.write_text(config.read_text().replace(before, after))


async def start(config: Path, *arguments: str) -> asyncio.subprocess.Process:
    # A test run in the background of a shell would hand down that Ctrl-C is ignored.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
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
        preexec_fn=heard,
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
    assert "Signed in as backchat; it may read chat, speak, speak as the application." in output
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
    change(config, twitch.client_id, "")
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


async def test_ctrl_c_while_the_code_is_shown_ends_in_a_sentence(
    twitch: FakeTwitch, config: Path, tokens: TokenFile
) -> None:
    process = await start(config, "login")
    await eventually(lambda: ("POST", "/oauth2/token") in twitch.requests, within_s=30)  # it waits for an answer
    process.send_signal(signal.SIGINT)
    output = (await process.communicate())[0].decode()
    assert process.returncode == 1
    assert "backchat: given up; nobody was signed in" in output and "Traceback" not in output
    assert not tokens.path.exists()


async def test_signing_in_the_streamer_in_the_companions_browser_harms_nothing(
    twitch: FakeTwitch, config: Path, tokens: TokenFile
) -> None:
    sign_in(twitch, tokens)
    before = tokens.read()
    twitch.approver = twitch.user("backchat")
    code, output = await said(config, "login", "--broadcaster")
    assert code == 1
    assert "that was backchat, whose channel is not in [twitch] channels (streamer)" in output
    assert tokens.read() == before
    assert set(twitch.tokens) == {before.accounts[before.companion or ""].access_token}, "the grant was given back"


async def test_the_companion_signed_in_as_the_streamer_says_so_and_what_was_left_out(
    twitch: FakeTwitch, config: Path, tokens: TokenFile
) -> None:
    broadcaster_signs_in(twitch, tokens)
    twitch.approver = twitch.user("streamer")
    code, output = await said(config, "login")
    assert code == 0, output
    assert "It will speak as the streamer" in output
    assert f"Left out is {', '.join(BROADCASTER_SCOPES)}" in output


async def test_the_right_client_secret_is_kept_until_everybody_signs_out(
    twitch: FakeTwitch, config: Path, tokens: TokenFile
) -> None:
    twitch.approver = twitch.user("backchat")
    code, output = await said(config, "login", "--client-secret", typed=f"{twitch.client_secret}\n")
    assert code == 0, output
    assert tokens.read().client_secret == twitch.client_secret
    code, left = await said(config, "logout")
    assert code == 0 and "Forgot the client secret." in left
    assert twitch.client_secret not in tokens.path.read_text() + output + left
    code, again = await said(config, "logout")
    assert code == 1 and "nobody is signed in" in again


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('client_id = "fakeclient"', 'client_id = "mistyped"', "compare [twitch] client_id in config.toml"),
        ('auth_url = "http://127.0.0.1:', 'auth_url = "http://127.0.0.1:9/', "Twitch cannot be reached"),
        ('channels = ["streamer"]', 'channels = ["not a name"]', "[twitch] channels"),
    ],
    ids=["client id", "closed port", "channel name"],
)
async def test_what_is_wrong_is_one_plain_sentence(config: Path, before: str, after: str, told: str) -> None:
    change(config, before, after)
    code, output = await said(config, "login")
    assert code == 1
    assert told in output
    assert len(output.strip().splitlines()) == 1 and output.startswith("backchat: ")


def test_the_picture_of_the_address_is_left_out_where_it_would_be_broken() -> None:
    url = "https://www.twitch.tv/activate?public=true&device-code=ABCDEFGH"
    lines = _picture(url, 80, "utf-8").splitlines()
    width = len(lines[0])
    assert lines and {len(line) for line in lines} == {width} and width < 50
    assert _picture(url, width, "utf-8")
    assert _picture(url, width - 1, "utf-8") == ""
    assert _picture(url, 80, "ascii") == ""
