"""The companion on Twitch: a fake one on loopback, the real client, and everything in between."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.auth import TokenFile
from bot.chat import MessageReceived, OutgoingLine
from tests.fake_twitch import FakeTwitch
from tests.twitch_rig import KEEPALIVE_S, SUBSCRIBE_WITHIN_S, listening, open_chat, sign_in, token_file


@pytest.fixture
async def twitch() -> AsyncIterator[FakeTwitch]:
    async with FakeTwitch(keepalive_s=KEEPALIVE_S, subscribe_within_s=SUBSCRIBE_WITHIN_S) as fake:
        yield fake


@pytest.fixture
def tokens(twitch: FakeTwitch, tmp_path: Path) -> TokenFile:
    file = token_file(tmp_path)
    sign_in(twitch, file)
    return file


async def test_it_hears_a_viewer_and_answers_in_the_thread(twitch: FakeTwitch, tokens: TokenFile) -> None:
    chat = open_chat(twitch, tokens)
    async with listening(chat) as heard:
        message_id, reached = await twitch.chat("streamer", "viewer", "hello there", badges=("vip",))
        await heard.until(lambda: "hello there" in heard.texts)
        assert reached == 1
        received = heard.of(MessageReceived)[0]
        assert (received.message.id, received.message.login, received.message.channel) == (
            message_id,
            "viewer",
            "streamer",
        )
        assert received.roles == {"vip"} and not received.own

        sent = await chat.send(OutgoingLine("streamer", "general hello", reply_to=message_id))
        assert sent.message_id is not None and sent.drop_reason is None
        await heard.until(lambda: "general hello" in heard.texts)
        assert heard.of(MessageReceived)[-1].own
    assert [(said.text, said.reply_to) for said in twitch.said] == [("general hello", message_id)]
