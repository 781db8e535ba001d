"""The fake is no fiction: twitchio's own, unmodified client signs in to it, listens and speaks."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fake_twitch import FakeTwitch
from tests.stock_twitchio import stock_listening
from tests.twitch_rig import eventually


@pytest.fixture
async def twitch() -> AsyncIterator[FakeTwitch]:
    async with FakeTwitch(keepalive_s=10) as fake:
        yield fake


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_twitchios_own_client_listens_and_speaks(twitch: FakeTwitch) -> None:
    async with stock_listening(twitch) as client:
        parent = ("parent-id", twitch.user("other"), "what")
        await twitch.chat("streamer", "viewer", "hello Kappa", badges=("vip",), emotes={"Kappa": "25"}, reply_to=parent)
        await eventually(lambda: client.handled == ["hello Kappa"])
        (message,) = client.messages
        assert (message.chatter.name, message.broadcaster.name) == ("viewer", "streamer")
        assert message.reply.parent_message_id == "parent-id"
        assert [emote.id for emote in message.emotes] == ["25"]
        sent = await message.broadcaster.send_message("hello viewer", sender=client.bot_id, token_for=client.bot_id)
        assert sent.sent
    assert [said.text for said in twitch.said] == ["hello viewer"]


async def test_twitchios_own_device_code_flow_signs_in(twitch: FakeTwitch) -> None:
    import twitchio
    from twitchio.http import Route

    Route.BASE, Route.ID_BASE = f"{twitch.url}/helix/", f"{twitch.url}/"
    client = twitchio.Client(client_id=twitch.client_id, client_secret=None, bot_id=None)
    twitch.approver = twitch.user("backchat")
    scopes = twitchio.Scopes(user_read_chat=True)
    device = await client._http.device_code_flow(scopes=scopes)
    granted = await client._http.device_code_authorization(
        scopes=scopes, device_code=device["device_code"], interval=device["interval"]
    )
    assert granted["access_token"] in twitch.tokens
    await client._http.close()


async def test_subscribing_too_late_closes_the_session_with_4003() -> None:
    import aiohttp

    async with (
        FakeTwitch(subscribe_within_s=0.05) as twitch,
        aiohttp.ClientSession() as http,
        http.ws_connect(twitch.websocket_url) as socket,
    ):
        async with asyncio.timeout(2):
            while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        assert socket.close_code == 4003


async def test_a_refresh_token_works_once(twitch: FakeTwitch) -> None:
    import aiohttp

    token = twitch.issue(twitch.user("backchat"), [])
    assert token.refresh is not None
    form = {"client_id": twitch.client_id, "grant_type": "refresh_token", "refresh_token": token.refresh}
    async with aiohttp.ClientSession() as http:
        answers = [(await http.post(f"{twitch.url}/oauth2/token", data=form)).status for _ in range(2)]
    assert answers == [200, 400]
