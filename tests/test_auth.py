"""Tokens: one private file, saved at each refresh, one refresh however many ask, and never a value in an error."""

import asyncio
import json
import stat
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.auth import Account, SignedIn, TokenFile, TokenKeeper, open_keeper
from bot.chat import OutgoingLine
from bot.device_code import DeviceCode, sign_in_by_device
from bot.twitch_http import Helix, TwitchError, TwitchOAuth
from corpus.errors import SignInError
from tests.fake_twitch import FakeTwitch
from tests.twitch_rig import broadcaster_signs_in, listening, open_chat, sign_in, token_file


def now_ms() -> int:
    return int(time.time() * 1000)


@pytest.fixture
async def twitch() -> AsyncIterator[FakeTwitch]:
    async with FakeTwitch() as fake:
        yield fake


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return token_file(tmp_path)


@pytest.fixture
async def keeper(twitch: FakeTwitch, tokens: TokenFile) -> AsyncIterator[TokenKeeper]:
    keeper = open_keeper(tokens, client_id=twitch.client_id, api_url=twitch.url, auth_url=twitch.url, now_ms=now_ms)
    yield keeper
    await keeper.close()


def refreshes(twitch: FakeTwitch) -> int:
    return twitch.requests.count(("POST", "/oauth2/token"))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_the_token_file_is_for_its_owner_alone(tokens: TokenFile) -> None:
    account = Account("1", "backchat", "access", "refresh", ("user:bot",), 5)
    tokens.write(SignedIn("client", "secret").with_account(account, companion=True))
    assert stat.S_IMODE(tokens.path.stat().st_mode) == 0o600
    again = TokenFile(tokens.path).read()
    assert again.account("1") == account
    assert (again.companion, again.client_id, again.client_secret) == ("1", "client", "secret")
    assert [file.name for file in tokens.path.parent.iterdir()] == ["tokens.json"], "nothing half-written stays behind"


def test_no_repr_shows_a_token() -> None:
    account = Account("1", "backchat", "secretaccess", "secretrefresh")
    signed_in = SignedIn("client", "secretclient").with_account(account)
    assert "secret" not in f"{account!r} {account} {signed_in!r} {signed_in}"


def test_a_token_file_that_is_damaged_names_the_way_out(tokens: TokenFile) -> None:
    tokens.path.write_text('{"accounts": [{"access_token": "secretaccess"}]}')
    with pytest.raises(SignInError, match="move it away and run `backchat login`") as caught:
        tokens.read()
    assert "secretaccess" not in str(caught.value)


async def test_five_sends_on_an_expired_token_cost_one_refresh(twitch: FakeTwitch, tokens: TokenFile) -> None:
    sign_in(twitch, tokens)
    chat = open_chat(twitch, tokens)
    async with listening(chat):
        twitch.expire("backchat")
        before = refreshes(twitch)
        sent = await asyncio.gather(*(chat.send(OutgoingLine("streamer", f"line {number}")) for number in range(5)))
        assert [one.drop_reason for one in sent] == [None] * 5
        assert refreshes(twitch) - before == 1


async def test_a_refreshed_token_is_on_disk_before_it_is_used(
    twitch: FakeTwitch, tokens: TokenFile, keeper: TokenKeeper
) -> None:
    account = sign_in(twitch, tokens)
    fresh = await keeper.refresh(account.user_id, account.access_token)
    stored = json.loads(tokens.path.read_text())["accounts"][0]
    assert stored["access_token"] == fresh != account.access_token
    assert stored["refresh_token"] != account.refresh_token


async def test_two_programs_with_one_token_file_refresh_it_once(twitch: FakeTwitch, tokens: TokenFile) -> None:
    account = sign_in(twitch, tokens)
    keepers = [
        open_keeper(
            TokenFile(tokens.path), client_id=twitch.client_id, api_url=twitch.url, auth_url=twitch.url, now_ms=now_ms
        )
        for _ in range(3)
    ]
    fresh = await asyncio.gather(*(keeper.refresh(account.user_id, account.access_token) for keeper in keepers))
    assert len(set(fresh)) == 1
    assert refreshes(twitch) == 1
    for keeper in keepers:
        await keeper.close()


async def test_a_lock_whose_owner_died_is_taken_over(
    twitch: FakeTwitch, tokens: TokenFile, keeper: TokenKeeper
) -> None:
    account = sign_in(twitch, tokens)
    lock = tokens.path.with_name(".tokens.json.lock")
    lock.touch()
    import os

    os.utime(lock, (time.time() - 60, time.time() - 60))
    async with asyncio.timeout(5):
        await keeper.refresh(account.user_id, account.access_token)
    assert not lock.exists()


async def test_a_token_about_to_end_is_refreshed_before_it_is_used(
    twitch: FakeTwitch, tokens: TokenFile, keeper: TokenKeeper
) -> None:
    account = sign_in(twitch, tokens)
    from dataclasses import replace

    tokens.write(tokens.read().with_account(replace(account, expires_ms=now_ms() + 1_000)))
    assert await keeper.access(account.user_id) != account.access_token
    assert refreshes(twitch) == 1


async def test_a_dead_sign_in_says_which_command_to_run(
    twitch: FakeTwitch, tokens: TokenFile, keeper: TokenKeeper
) -> None:
    account = sign_in(twitch, tokens)
    twitch.disconnect("backchat")
    with pytest.raises(SignInError, match="sign-in of backchat is no longer valid; run `backchat login`") as caught:
        await keeper.validate(account.user_id)
    assert not any(secret in str(caught.value) for secret in twitch.secrets)


async def test_a_streamers_dead_sign_in_names_the_streamers_command(
    twitch: FakeTwitch, tokens: TokenFile, keeper: TokenKeeper
) -> None:
    sign_in(twitch, tokens)
    streamer = broadcaster_signs_in(twitch, tokens)
    twitch.disconnect("streamer")
    with pytest.raises(SignInError, match="of streamer is no longer valid; run `backchat login --broadcaster`"):
        await keeper.validate(streamer.user_id)


async def test_a_client_secret_that_is_not_right_is_told_as_such(
    twitch: FakeTwitch, tokens: TokenFile, keeper: TokenKeeper
) -> None:
    account = sign_in(twitch, tokens)
    twitch.public_client = False
    with pytest.raises(SignInError, match="run `backchat login --client-secret`"):
        await keeper.refresh(account.user_id, account.access_token)


async def test_another_application_inherits_neither_tokens_nor_secret(
    twitch: FakeTwitch, tokens: TokenFile, keeper: TokenKeeper
) -> None:
    account = sign_in(twitch, tokens, secret=True)
    await keeper.keep(account, client_id="another", companion=True)
    assert (tokens.read().client_id, tokens.read().client_secret) == ("another", None)
    await keeper.keep_client_secret("a third", "secretthird")
    assert (tokens.read().client_secret, tokens.read().accounts, tokens.read().companion) == ("secretthird", {}, None)


async def test_signing_out_kills_the_refresh_token_of_an_access_token_that_has_ended(
    twitch: FakeTwitch, tokens: TokenFile, keeper: TokenKeeper
) -> None:
    account = sign_in(twitch, tokens)
    twitch.expire("backchat")
    await keeper.revoke(account.user_id)
    assert twitch.tokens == {}
    assert tokens.read().accounts == {}


async def test_signing_out_of_a_dead_sign_in_forgets_it(
    twitch: FakeTwitch, tokens: TokenFile, keeper: TokenKeeper
) -> None:
    account = sign_in(twitch, tokens)
    twitch.disconnect("backchat")
    await keeper.revoke(account.user_id)
    assert tokens.read().accounts == {}


async def test_a_folder_that_takes_no_tokens_is_a_sentence(twitch: FakeTwitch, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    tokens = token_file(tmp_path / "data")
    keeper = open_keeper(tokens, client_id=twitch.client_id, api_url=twitch.url, auth_url=twitch.url, now_ms=now_ms)
    token = twitch.issue(twitch.user("backchat"), [])
    account = await keeper.identify(token.value, token.refresh or "")
    with pytest.raises(SignInError, match="tokens cannot be written there"):
        await keeper.keep(account, client_id=twitch.client_id, companion=True)
    await keeper.close()


async def test_a_refresh_that_twitch_cannot_answer_now_is_no_dead_sign_in(
    twitch: FakeTwitch, tokens: TokenFile, keeper: TokenKeeper
) -> None:
    account = sign_in(twitch, tokens)
    twitch.fail("POST", "/oauth2/token", status=503)
    with pytest.raises(TwitchError) as caught:
        await keeper.refresh(account.user_id, account.access_token)
    assert caught.value.passing
    assert not any(secret in str(caught.value) for secret in twitch.secrets)
    assert await keeper.refresh(account.user_id, account.access_token) != account.access_token


async def test_validation_learns_the_scopes_a_token_really_has(
    twitch: FakeTwitch, tokens: TokenFile, keeper: TokenKeeper
) -> None:
    account = sign_in(twitch, tokens)
    twitch.tokens[account.access_token].scopes = ["user:read:chat"]
    assert (await keeper.validate(account.user_id)).scopes == ("user:read:chat",)
    assert tokens.read().accounts[account.user_id].scopes == ("user:read:chat",)


async def test_a_full_disk_loses_no_token_that_is_in_memory(
    twitch: FakeTwitch, tokens: TokenFile, keeper: TokenKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = sign_in(twitch, tokens)

    def full(signed_in: SignedIn) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(tokens, "write", full)
        with pytest.raises(SignInError, match="No space left on device"):
            await keeper.refresh(account.user_id, account.access_token)
    assert (await keeper.access(account.user_id)) in twitch.tokens


async def test_the_device_code_flow_signs_in_whoever_says_yes(twitch: FakeTwitch, keeper: TokenKeeper) -> None:
    oauth = TwitchOAuth(client_id=twitch.client_id, api_url=twitch.url, auth_url=twitch.url, now_ms=now_ms)
    shown: list[DeviceCode] = []
    waiting = asyncio.create_task(sign_in_by_device(oauth, ("user:read:chat",), shown.append))
    while refreshes(twitch) < 2:  # it has asked, was told to wait, and has asked again
        await asyncio.sleep(0.01)
    assert not waiting.done()
    twitch.approver = twitch.user("backchat")
    granted = await waiting
    account = await keeper.identify(granted.access_token, granted.refresh_token)
    await keeper.keep(account, client_id=twitch.client_id, companion=True)
    await oauth.close()
    assert (account.login, account.scopes) == ("backchat", ("user:read:chat",))
    assert shown[0].code in shown[0].url


async def test_a_code_that_nobody_enters_ends_in_a_sentence(twitch: FakeTwitch) -> None:
    oauth = TwitchOAuth(client_id=twitch.client_id, api_url=twitch.url, auth_url=twitch.url, now_ms=now_ms)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    twitch.device_interval_s = 600
    with pytest.raises(SignInError, match="nobody entered the code in time"):
        await sign_in_by_device(oauth, ("user:read:chat",), lambda code: None, sleep=sleep)
    assert slept == [600] * 3
    await oauth.close()


@pytest.mark.parametrize(
    ("turn", "told"), [("denied", "somebody said no"), ("expired", "nobody entered the code in time")]
)
async def test_a_code_that_is_denied_or_too_old_ends_in_a_sentence(twitch: FakeTwitch, turn: str, told: str) -> None:
    oauth = TwitchOAuth(client_id=twitch.client_id, api_url=twitch.url, auth_url=twitch.url, now_ms=now_ms)
    shown: list[DeviceCode] = []
    waiting = asyncio.create_task(sign_in_by_device(oauth, ("user:read:chat",), shown.append))
    while not shown:
        await asyncio.sleep(0.01)
    twitch.deny() if turn == "denied" else twitch.devices.clear()
    with pytest.raises(SignInError, match=told):
        await waiting
    await oauth.close()


async def test_a_twitch_that_is_away_while_the_code_is_entered_costs_nothing(twitch: FakeTwitch) -> None:
    oauth = TwitchOAuth(client_id=twitch.client_id, api_url=twitch.url, auth_url=twitch.url, now_ms=now_ms)
    twitch.fail("POST", "/oauth2/token", status=503)
    twitch.fail("POST", "/oauth2/token", reset=True)
    twitch.approver = twitch.user("backchat")
    granted = await sign_in_by_device(oauth, ("user:read:chat",), lambda code: None)
    assert granted.access_token in twitch.tokens
    await oauth.close()


async def test_a_wrong_client_id_is_told_as_such(twitch: FakeTwitch) -> None:
    oauth = TwitchOAuth(client_id="other", api_url=twitch.url, auth_url=twitch.url, now_ms=now_ms)
    with pytest.raises(SignInError, match=r"\[twitch\] client_id"):
        await sign_in_by_device(oauth, ("user:read:chat",), lambda code: None)
    await oauth.close()


async def test_an_unknown_account_never_speaks_with_the_applications_token(
    twitch: FakeTwitch, tokens: TokenFile, keeper: TokenKeeper
) -> None:
    sign_in(twitch, tokens, secret=True)
    helix = Helix(keeper, client_id=twitch.client_id, api_url=twitch.url, auth_url=twitch.url, now_ms=now_ms)
    with pytest.raises(SignInError, match="run `backchat login`"):
        await helix.get_users(logins=["streamer"], token_for="4711")
    await helix.close()
    assert ("GET", "/helix/users") not in twitch.requests


async def test_secrets_travel_in_no_url(twitch: FakeTwitch, tokens: TokenFile, keeper: TokenKeeper) -> None:
    account = sign_in(twitch, tokens, secret=True)
    await keeper.refresh(account.user_id, account.access_token)
    await keeper.app_token()
    await keeper.revoke(account.user_id)
    assert twitch.queries and not any(secret in query for query in twitch.queries for secret in twitch.secrets)
    assert tokens.read().accounts == {}
