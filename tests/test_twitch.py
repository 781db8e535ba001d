"""The companion on Twitch: a fake one on loopback, the real client, and everything in between."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.actions import Line
from bot.auth import COMPANION_SCOPES, TokenFile
from bot.chat import (
    ChatterCleared,
    Cheered,
    ConnectionChanged,
    Followed,
    MessageDeleted,
    MessageReceived,
    OutgoingLine,
    PointsRedeemed,
    Raided,
    RoomCleared,
    StreamChanged,
    Subscribed,
    SubsGifted,
)
from bot.outbox import Outbox
from bot.program import narration
from bot.settings import ALL_TABLES
from bot.twitch import Scale
from bot.twitch_overheard import Irc
from corpus.errors import ChatError
from corpus.message import Emote
from corpus.settings import load_settings
from corpus.store import Corpus
from tests import fake_twitch_payloads as payloads
from tests.fake_twitch import FakeTwitch
from tests.twitch_rig import (
    KEEPALIVE_S,
    SUBSCRIBE_WITHIN_S,
    Open,
    broadcaster_signs_in,
    eventually,
    listening,
    open_chat,
    sign_in,
    token_file,
)


@pytest.fixture
async def twitch() -> AsyncIterator[FakeTwitch]:
    async with FakeTwitch(keepalive_s=KEEPALIVE_S, subscribe_within_s=SUBSCRIBE_WITHIN_S) as fake:
        yield fake


@pytest.fixture
def signed_out(tmp_path: Path) -> TokenFile:
    return token_file(tmp_path)


@pytest.fixture
def tokens(twitch: FakeTwitch, signed_out: TokenFile) -> TokenFile:
    sign_in(twitch, signed_out)
    return signed_out


async def test_it_hears_a_viewer_and_answers_in_the_thread(twitch: FakeTwitch, tokens: TokenFile) -> None:
    chat = open_chat(twitch, tokens)
    async with listening(chat) as heard:
        message_id, reached = await twitch.chat("streamer", "viewer", "hello there", badges=("vip",))
        await heard.until(lambda: "hello there" in heard.texts)
        assert reached == 1
        received = heard.of(MessageReceived)[0]
        assert received.message.id == message_id
        assert (received.message.login, received.message.channel) == ("viewer", "streamer")
        assert received.roles == {"vip"} and not received.own

        sent = await chat.send(OutgoingLine("streamer", "general hello", reply_to=message_id))
        assert sent.message_id is not None and sent.drop_reason is None
        await heard.until(lambda: "general hello" in heard.texts)
        assert heard.of(MessageReceived)[-1].own
    assert [(said.text, said.reply_to) for said in twitch.said] == [("general hello", message_id)]


async def test_a_message_keeps_its_emotes_its_thread_and_its_time(twitch: FakeTwitch, tokens: TokenFile) -> None:
    async with listening(open_chat(twitch, tokens)) as heard:
        parent = ("parent-id", twitch.user("other"), "what")
        text = "héé Kappa and Kappa"
        await twitch.chat("streamer", "viewer", text, emotes={"Kappa": "25"}, reply_to=parent, badges=("founder",))
        await heard.until(lambda: bool(heard.texts))
        (received,) = heard.of(MessageReceived)
        assert received.message.emotes == (Emote("25", 4, 9), Emote("25", 14, 19))
        assert received.message.reply_to == "parent-id"
        assert received.roles == {"subscriber"}
        assert received.message.sent_ms is not None and abs(received.message.sent_ms - time.time() * 1000) < 5_000


async def test_what_moderators_take_away_is_heard(twitch: FakeTwitch, tokens: TokenFile) -> None:
    streamer, viewer = twitch.user("streamer"), twitch.user("viewer")
    async with listening(open_chat(twitch, tokens)) as heard:
        await twitch.notify("channel.chat.message_delete", payloads.message_delete(streamer, viewer, "that-one"))
        await twitch.notify("channel.chat.clear_user_messages", payloads.clear_user_messages(streamer, viewer))
        await twitch.notify("channel.chat.clear", payloads.clear(streamer))
        await heard.until(lambda: bool(heard.of(RoomCleared)))
        assert heard.of(MessageDeleted) == [MessageDeleted("streamer", "that-one", "viewer")]
        assert heard.of(ChatterCleared) == [ChatterCleared("streamer", "viewer", viewer.id)]
        assert heard.of(RoomCleared) == [RoomCleared("streamer")]


async def test_subs_gifts_raids_and_cheers_need_no_scope_of_the_streamer(twitch: FakeTwitch, tokens: TokenFile) -> None:
    streamer, viewer = twitch.user("streamer"), twitch.user("viewer")

    async def notice(kind: str, part: dict[str, object], **more: object) -> None:
        event = payloads.notice(streamer, viewer, kind, part, **more)  # type: ignore[arg-type]
        await twitch.notify("channel.chat.notification", event)

    async with listening(open_chat(twitch, tokens)) as heard:
        await notice("sub", payloads.sub(tier=2))
        await notice("resub", payloads.resub(months=7), text="seven months of this")
        await notice("sub_gift", payloads.sub_gift(twitch.user("lucky")))
        await notice("community_sub_gift", payloads.community_sub_gift(5, tier=3))
        for number in range(5):
            await notice("sub_gift", payloads.sub_gift(twitch.user(f"lucky{number}"), community_gift_id="bomb"))
        await notice("community_sub_gift", payloads.community_sub_gift(2, gift_id="other"), anonymous=True)
        await notice("raid", payloads.raid(twitch.user("neighbour"), 42))
        await twitch.chat("streamer", "viewer", "cheer100 take this", bits=100)
        await heard.until(lambda: bool(heard.of(Cheered)))
        assert heard.of(Subscribed) == [
            Subscribed("streamer", "Viewer", tier=2),
            Subscribed("streamer", "Viewer", months=7, text="seven months of this"),
        ]
        assert heard.of(SubsGifted) == [
            SubsGifted("streamer", "Viewer", 1),
            SubsGifted("streamer", "Viewer", 5, tier=3),
            SubsGifted("streamer", "somebody", 2),
        ]
        assert heard.of(Raided) == [Raided("streamer", "neighbour", 42)]
        assert heard.of(Cheered) == [Cheered("streamer", "Viewer", 100, "cheer100 take this")]


async def test_follows_and_channel_points_come_once_the_streamer_signs_in(
    twitch: FakeTwitch, tokens: TokenFile
) -> None:
    streamer, viewer = twitch.user("streamer"), twitch.user("viewer")
    broadcaster_signs_in(twitch, tokens)
    async with listening(open_chat(twitch, tokens)) as heard:
        await eventually(lambda: {"channel.follow"} <= {made.type for made in twitch.subscriptions.values()})
        await eventually(lambda: any("redemption" in made.type for made in twitch.subscriptions.values()))
        await twitch.notify("channel.follow", payloads.follow(streamer, viewer))
        redeemed = payloads.redemption(streamer, viewer, "Make it talk", "about soup")
        await twitch.notify("channel.channel_points_custom_reward_redemption.add", redeemed)
        await heard.until(lambda: bool(heard.of(PointsRedeemed)))
        assert heard.of(Followed) == [Followed("streamer", "Viewer")]
        assert heard.of(PointsRedeemed) == [PointsRedeemed("streamer", "Viewer", "Make it talk", "about soup")]


async def test_a_missing_scope_costs_one_line_that_names_it(
    twitch: FakeTwitch, tokens: TokenFile, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="bot"):
        async with listening(open_chat(twitch, tokens)) as heard:
            await twitch.chat("streamer", "viewer", "hello")
            await heard.until(lambda: heard.texts == ["hello"])
    lines = [record.getMessage() for record in caplog.records if "scope" in record.getMessage()]
    assert lines == [
        "#streamer: not listening for follows: that needs the scope moderator:read:followers; "
        "run `backchat login --broadcaster`",
        "#streamer: not listening for channel points: that needs the scope channel:read:redemptions; "
        "run `backchat login --broadcaster`",
    ]


async def test_a_shared_chats_other_room_is_marked_as_such(twitch: FakeTwitch, tokens: TokenFile) -> None:
    async with listening(open_chat(twitch, tokens)) as heard:
        await twitch.chat("streamer", "viewer", "from next door", source=twitch.user("neighbour"))
        await twitch.chat("streamer", "viewer", "from here", source=twitch.user("streamer"))
        await heard.until(lambda: len(heard.texts) == 2)
        assert [received.other_room for received in heard.of(MessageReceived)] == [True, False]


async def test_it_knows_who_is_live_from_the_start_and_after_every_loss(twitch: FakeTwitch, tokens: TokenFile) -> None:
    twitch.live = {"streamer"}
    async with listening(open_chat(twitch, tokens)) as heard:
        await heard.until(lambda: heard.of(StreamChanged) == [StreamChanged("streamer", True)])
        twitch.live = set()  # the stream ends while the companion hears nothing
        for session in twitch.current():
            twitch.abort(session)
        await heard.until(lambda: heard.of(StreamChanged)[-1] == StreamChanged("streamer", False))
        await eventually(lambda: any(made.type == "stream.online" for made in twitch.subscriptions.values()))
        await heard.until(lambda: heard.connected)
        await twitch.notify("stream.online", payloads.stream_online(twitch.user("streamer")))
        await heard.until(lambda: heard.of(StreamChanged)[-1] == StreamChanged("streamer", True))


async def test_it_may_speak_faster_where_it_is_a_moderator(twitch: FakeTwitch, tokens: TokenFile) -> None:
    twitch.moderators["streamer"] = {"backchat"}
    chat = open_chat(twitch, tokens, ("streamer", "backchat"))
    async with listening(chat) as heard:
        assert (chat.limits("streamer").messages, chat.limits("streamer").pause_s) == (20, 1.0)
        assert (chat.limits("backchat").messages, chat.limits("backchat").pause_s) == (100, 0.0)
        await chat.send(OutgoingLine("streamer", "am I a moderator here?"))
        await heard.until(lambda: bool(heard.texts))
        assert (chat.limits("streamer").messages, chat.limits("streamer").pause_s) == (100, 0.0)


async def test_why_twitch_dropped_a_line_is_told(twitch: FakeTwitch, tokens: TokenFile) -> None:
    chat = open_chat(twitch, tokens)
    async with listening(chat):
        twitch.drop_next.append(("msg_duplicate", "Your message is identical to the one you sent"))
        dropped = await chat.send(OutgoingLine("streamer", "again"))
        assert dropped.drop_reason == "msg_duplicate: Your message is identical to the one you sent"
        elsewhere = await chat.send(OutgoingLine("elsewhere", "hello"))
        assert elsewhere.drop_reason == "#elsewhere is not one of [twitch] channels"
        twitch.fail("POST", "chat/messages", status=403, body={"message": "The sender is banned"})
        banned = await chat.send(OutgoingLine("streamer", "hello"))
        assert banned.drop_reason == "Twitch refuses (403 The sender is banned)"
        assert banned.retry_after_s is None


async def test_an_expired_token_is_refreshed_under_the_send(twitch: FakeTwitch, tokens: TokenFile) -> None:
    chat = open_chat(twitch, tokens)
    async with listening(chat):
        twitch.expire("backchat")
        assert (await chat.send(OutgoingLine("streamer", "hello"))).drop_reason is None


async def test_too_many_messages_says_when_to_come_back(twitch: FakeTwitch, tokens: TokenFile) -> None:
    chat = open_chat(twitch, tokens)
    async with listening(chat):
        reset = {"Ratelimit-Reset": str(int(time.time()) + 7)}
        twitch.fail("POST", "chat/messages", status=429, headers=reset)
        sent = await chat.send(OutgoingLine("streamer", "hello"))
        assert sent.drop_reason is not None and sent.retry_after_s is not None
        assert 5 < sent.retry_after_s <= 7


async def test_a_twitch_that_is_down_is_an_error_the_outbox_tries_again(twitch: FakeTwitch, tokens: TokenFile) -> None:
    chat = open_chat(twitch, tokens)
    async with listening(chat):
        twitch.fail("POST", "chat/messages", status=503)
        with pytest.raises(ChatError, match="503"):
            await chat.send(OutgoingLine("streamer", "hello"))
        twitch.fail("POST", "chat/messages", reset=True)
        with pytest.raises(ChatError, match="cannot be reached"):
            await chat.send(OutgoingLine("streamer", "hello"))


async def test_a_twitch_that_is_away_at_the_start_is_not_taken_for_a_missing_sign_in(
    twitch: FakeTwitch, tokens: TokenFile
) -> None:
    twitch.fail("GET", "/oauth2/validate", status=503, times=1)
    chat = open_chat(twitch, tokens)
    with pytest.raises(ChatError, match="not connected yet"):
        await chat.send(OutgoingLine("streamer", "hello"))
    async with listening(chat, wait=False) as heard:
        await heard.until(lambda: bool(heard.of(ConnectionChanged)))
        with pytest.raises(ChatError, match="503"):
            await chat.send(OutgoingLine("streamer", "hello"))
        await heard.until(lambda: heard.connected)
        assert (await chat.send(OutgoingLine("streamer", "hello"))).drop_reason is None


async def test_the_outbox_gets_a_line_through_faults_while_it_lives_and_drops_it_after(
    twitch: FakeTwitch, tokens: TokenFile
) -> None:
    chat = open_chat(twitch, tokens)
    clock = [0]

    async def sleep(seconds: float) -> None:
        clock[0] += int(seconds * 1000)
        await asyncio.sleep(0)

    outbox = Outbox(chat, Open(), now_ms=lambda: clock[0], sleep=sleep)
    async with listening(chat):
        sending = asyncio.create_task(outbox.run())
        twitch.fail("POST", "chat/messages", status=503)
        twitch.fail("POST", "chat/messages", status=429)
        sent = await outbox.say(Line("streamer", "through it all", kind="reply"))
        assert sent.drop_reason is None
        twitch.fail("POST", "chat/messages", status=503, times=50)
        dropped = await outbox.say(Line("streamer", "too late", kind="reply", expires_ms=clock[0] + 5_000))
        assert dropped.drop_reason is not None
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert [said.text for said in twitch.said] == ["through it all"]


async def test_with_a_secret_lines_are_the_applications_and_carry_the_badge(
    twitch: FakeTwitch, signed_out: TokenFile
) -> None:
    sign_in(twitch, signed_out, secret=True)
    chat = open_chat(twitch, signed_out)
    async with listening(chat):
        await chat.send(OutgoingLine("streamer", "with a badge"))
        twitch.fail("POST", "chat/messages", status=403, body={"message": "the broadcaster did not allow it"})
        assert (await chat.send(OutgoingLine("streamer", "without one"))).drop_reason is None
        await chat.send(OutgoingLine("streamer", "and without from now on"))
    assert [said.app_token for said in twitch.said] == [True, False, False]


async def test_a_channel_that_refuses_the_application_costs_no_other_its_badge(
    twitch: FakeTwitch, signed_out: TokenFile
) -> None:
    sign_in(twitch, signed_out, secret=True)
    twitch.app_sends_refused = {"streamer"}
    chat = open_chat(twitch, signed_out, ("streamer", "neighbour"), look_at_tokens_every_s=0.01)
    async with listening(chat) as heard:
        for channel in ("streamer", "neighbour", "streamer"):
            assert (await chat.send(OutgoingLine(channel, f"hello {channel}"))).drop_reason is None
        assert [said.app_token for said in twitch.said] == [False, True, False]
        twitch.app_sends_refused.clear()
        broadcaster_signs_in(twitch, signed_out)  # which allows it
        await heard.until(lambda: any("sign-in changed" in event.detail for event in heard.of(ConnectionChanged)))
        await heard.until(lambda: heard.connected)
        await chat.send(OutgoingLine("streamer", "with a badge"))
        assert twitch.said[-1].app_token


async def test_one_process_listens_and_speaks_in_several_channels(twitch: FakeTwitch, tokens: TokenFile) -> None:
    twitch.moderators["neighbour"] = {"backchat"}
    chat = open_chat(twitch, tokens, ("streamer", "#Neighbour"))
    async with listening(chat) as heard:
        for channel in ("streamer", "neighbour"):
            message_id, _ = await twitch.chat(channel, "viewer", f"hello {channel}")
            await heard.until(lambda: heard.texts[-1:] == [f"hello {channel}"])  # noqa: B023
            await chat.send(OutgoingLine(channel, "hello back", reply_to=message_id))
            await heard.until(lambda: heard.texts[-1:] == ["hello back"])
        received = [(one.message.channel, one.message.text) for one in heard.of(MessageReceived)]
        assert received == [
            ("streamer", "hello streamer"), ("streamer", "hello back"),
            ("neighbour", "hello neighbour"), ("neighbour", "hello back"),
        ]  # fmt: skip
        assert [said.channel for said in twitch.said] == ["streamer", "neighbour"]
        assert (chat.limits("streamer").messages, chat.limits("neighbour").messages) == (20, 100)


@pytest.mark.parametrize(
    ("full", "what"), [("stream.online", "stream start"), ("channel.chat.message neighbour", "chat messages")]
)
async def test_a_limit_on_subscriptions_costs_what_is_over_it_and_no_more(
    twitch: FakeTwitch, tokens: TokenFile, caplog: pytest.LogCaptureFixture, full: str, what: str
) -> None:
    twitch.full = {full}

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0.01)

    chat = open_chat(twitch, tokens, ("streamer", "neighbour"), sleep=sleep)
    with caplog.at_level(logging.WARNING, logger="bot"):
        async with listening(chat) as heard:
            await twitch.chat("streamer", "viewer", "hello")
            await heard.until(lambda: heard.texts == ["hello"])
            assert f"#neighbour: not listening for {what} yet" in caplog.text
            assert "subscription limit exceeded" in caplog.text
            twitch.full.clear()
            await eventually(lambda: len(twitch.subscriptions) == 14)


async def test_it_knows_of_many_channels_who_is_live(twitch: FakeTwitch, tokens: TokenFile) -> None:
    channels = tuple(f"streamer{number}" for number in range(30))
    twitch.live = set(channels)
    async with listening(open_chat(twitch, tokens, channels)) as heard:
        await heard.until(lambda: len(heard.of(StreamChanged)) == 30)
        assert all(event.online for event in heard.of(StreamChanged))


async def test_a_streamers_dead_sign_in_costs_one_line_and_the_streamers_events(
    twitch: FakeTwitch, tokens: TokenFile, caplog: pytest.LogCaptureFixture
) -> None:
    broadcaster_signs_in(twitch, tokens)
    twitch.disconnect("streamer")
    with caplog.at_level(logging.WARNING, logger="bot"):
        async with listening(open_chat(twitch, tokens)) as heard:
            await twitch.chat("streamer", "viewer", "hello")
            await heard.until(lambda: heard.texts == ["hello"])
    told = [record.getMessage() for record in caplog.records if "streamer" in record.getMessage()]
    assert told[0] == "Twitch: the sign-in of streamer is no longer valid; run `backchat login --broadcaster`"


def irc_of(twitch: FakeTwitch) -> Irc:
    return Irc("127.0.0.1", twitch.irc.port, tls=False)


async def test_without_a_sign_in_it_listens_says_how_and_speaks_as_soon_as_somebody_signs_in(
    twitch: FakeTwitch, signed_out: TokenFile
) -> None:
    chat = open_chat(twitch, signed_out, irc=irc_of(twitch), look_at_tokens_every_s=0.01)
    async with listening(chat) as heard:
        assert "run `backchat login`" in heard.of(ConnectionChanged)[-1].detail
        await eventually(lambda: twitch.irc.joined("streamer") == 1)
        await twitch.chat("streamer", "viewer", "anybody there?")
        await heard.until(lambda: heard.texts == ["anybody there?"])
        sent = await chat.send(OutgoingLine("streamer", "I cannot say it"))
        assert sent.drop_reason == "not signed in to Twitch; run `backchat login`"

        sign_in(twitch, signed_out)
        await eventually(lambda: bool(twitch.current()))
        await heard.until(lambda: heard.connected)
        await eventually(lambda: twitch.irc.joined("streamer") == 0)
        await twitch.chat("streamer", "viewer", "and now?")
        await heard.until(lambda: heard.texts == ["anybody there?", "and now?"])
        assert (await chat.send(OutgoingLine("streamer", "now I can"))).drop_reason is None


async def test_a_sign_in_that_dies_while_it_runs_leaves_it_listening(twitch: FakeTwitch, tokens: TokenFile) -> None:
    chat = open_chat(twitch, tokens, irc=irc_of(twitch), look_at_tokens_every_s=0.01)
    async with listening(chat) as heard:
        twitch.disconnect("backchat")
        await twitch.revoke("channel.chat.message")
        await heard.until(lambda: "no longer valid; run `backchat login`" in heard.of(ConnectionChanged)[-1].detail)
        await eventually(lambda: twitch.irc.joined("streamer") == 1)
        await twitch.chat("streamer", "viewer", "still there?")
        await heard.until(lambda: heard.texts == ["still there?"])
        sign_in(twitch, tokens)
        await eventually(lambda: bool(twitch.current()))
        await heard.until(lambda: heard.connected)


async def test_a_message_has_one_id_over_irc_and_eventsub(twitch: FakeTwitch, tokens: TokenFile) -> None:
    overhearing = open_chat(twitch, token_file(tokens.path.parent / "nobody"), irc=irc_of(twitch))
    async with listening(open_chat(twitch, tokens)) as heard, listening(overhearing) as overheard:
        await eventually(lambda: twitch.irc.joined("streamer") == 1)
        parent = ("parent-id", twitch.user("other"), "what")
        await twitch.chat("streamer", "viewer", "the same line", badges=("vip",), reply_to=parent)
        await heard.until(lambda: bool(heard.texts))
        await overheard.until(lambda: bool(overheard.texts))
        (one,), (other,) = heard.of(MessageReceived), overheard.of(MessageReceived)
        for name in ("id", "channel", "login", "text", "user_id", "display_name", "badges", "reply_to"):
            assert getattr(one.message, name) == getattr(other.message, name), name
        assert one.roles == other.roles
    with Corpus.open(tokens.path.with_name("chat.db")) as corpus:
        corpus.append([one.message])
        corpus.append([other.message])
        assert [kept.message.id for kept in corpus.messages()] == [one.message.id], "heard twice, kept once"


async def test_the_companions_deaths_and_returns_leave_no_token_in_the_log(
    twitch: FakeTwitch, signed_out: TokenFile, caplog: pytest.LogCaptureFixture
) -> None:
    account = sign_in(twitch, signed_out, secret=True)
    details: list[str] = []
    with caplog.at_level(logging.DEBUG):
        chat = open_chat(twitch, signed_out, irc=irc_of(twitch), look_at_tokens_every_s=0.01)
        async with listening(chat) as heard:
            twitch.expire("backchat")
            twitch.fail("POST", "/oauth2/token", reset=True)
            twitch.fail("POST", "eventsub/subscriptions", status=500)
            for session in twitch.current():
                twitch.abort(session)
            await heard.until(lambda: not heard.connected)
            await heard.until(lambda: heard.connected)
            details += [str(await chat.send(OutgoingLine("streamer", "hello")))]
            twitch.disconnect("backchat")
            for token in [value for value, token in twitch.tokens.items() if token.user is None]:
                del twitch.tokens[token]
            details += [str(await chat.send(OutgoingLine("streamer", "hello again")))]
            await twitch.revoke("channel.chat.message")
            await heard.until(lambda: "no longer valid" in heard.of(ConnectionChanged)[-1].detail)
            details += [repr(event) for event in heard.events]
    everything = caplog.text + "".join(details)
    assert account.access_token in twitch.secrets and len(twitch.secrets) > 4
    assert [secret for secret in twitch.secrets if secret in everything] == []


async def test_two_processes_share_a_conduit_and_each_takes_its_shard_again(
    twitch: FakeTwitch, signed_out: TokenFile
) -> None:
    sign_in(twitch, signed_out, secret=True)
    first = open_chat(twitch, signed_out, scale=Scale(conduit=True, shard=0, shards=2))
    second = open_chat(twitch, TokenFile(signed_out.path), scale=Scale(conduit=True, shard=1, shards=2))
    async with listening(first) as one, listening(second) as two:
        (conduit,) = twitch.conduits.values()
        assert len(set(conduit["shards"].values())) == 2
        assert len({(made.type, str(made.condition)) for made in twitch.subscriptions.values()}) == len(
            twitch.subscriptions
        ), "no process subscribes to what another has subscribed to"
        for number in range(20):
            await twitch.chat("streamer", f"viewer{number % 4}", f"line {number}")
        await eventually(lambda: len(one.texts) + len(two.texts) == 20)
        assert not set(one.texts) & set(two.texts)
        assert one.texts and two.texts

        old = conduit["shards"]["0"]
        twitch.abort(twitch.sessions[old])
        await eventually(lambda: conduit["shards"]["0"] not in (old, None))
        await one.until(lambda: one.connected)
        assert (await first.send(OutgoingLine("streamer", "still here"))).drop_reason is None


async def test_processes_that_speak_as_one_account_share_its_limits(twitch: FakeTwitch, signed_out: TokenFile) -> None:
    sign_in(twitch, signed_out, secret=True)
    for shards in (1, 3, 50):
        limits = open_chat(twitch, signed_out, scale=Scale(conduit=True, shards=shards)).limits("streamer")
        assert limits.messages >= 1
        assert shards * limits.messages / limits.seconds <= 20 / 30
        assert limits.pause_s == shards


@pytest.mark.parametrize(("shard", "tells"), [(0, True), (1, False)])
def test_one_of_several_processes_narrates(shard: int, tells: bool) -> None:
    environment = {"BACKCHAT_BOT__SCALE": "conduit", "BACKCHAT_BOT__SHARDS": "2", "BACKCHAT_BOT__SHARD": str(shard)}
    assert narration(load_settings(ALL_TABLES, environ=environment)).enabled is tells


async def test_a_conduit_without_a_secret_says_what_it_needs(twitch: FakeTwitch, tokens: TokenFile) -> None:
    chat = open_chat(twitch, tokens, scale=Scale(conduit=True))
    async with listening(chat, wait=False) as heard:
        await heard.until(lambda: any("--client-secret" in event.detail for event in heard.of(ConnectionChanged)))


async def test_a_companion_that_may_not_read_says_which_scope_is_missing(
    twitch: FakeTwitch, signed_out: TokenFile
) -> None:
    sign_in(twitch, signed_out, scopes=("user:write:chat",))
    async with listening(open_chat(twitch, signed_out), wait=False) as heard:
        await heard.until(lambda: any("user:read:chat" in event.detail for event in heard.of(ConnectionChanged)))


async def test_a_companion_that_may_not_speak_listens_and_says_which_scope_is_missing(
    twitch: FakeTwitch, signed_out: TokenFile, caplog: pytest.LogCaptureFixture
) -> None:
    sign_in(twitch, signed_out, scopes=("user:read:chat",))
    chat = open_chat(twitch, signed_out)
    with caplog.at_level(logging.WARNING, logger="bot"):
        async with listening(chat) as heard:
            await twitch.chat("streamer", "viewer", "hello")
            await heard.until(lambda: heard.texts == ["hello"])
            told = "backchat may not speak: that needs the scope user:write:chat; run `backchat login`"
            assert (await chat.send(OutgoingLine("streamer", "hello"))).drop_reason == told
    assert [record.getMessage() for record in caplog.records].count(told) == 1
    assert ("POST", "/helix/chat/messages") not in twitch.requests


async def test_a_channel_that_does_not_exist_is_told_and_the_others_are_heard(
    twitch: FakeTwitch, tokens: TokenFile, caplog: pytest.LogCaptureFixture
) -> None:
    chat = open_chat(twitch, tokens, ("streamer", "mistyped"))
    del twitch.users["mistyped"]
    with caplog.at_level(logging.WARNING, logger="bot"):
        async with listening(chat) as heard:
            await twitch.chat("streamer", "viewer", "hello")
            await heard.until(lambda: heard.texts == ["hello"])
    assert "#mistyped: Twitch knows no such channel" in caplog.text


async def test_a_channel_name_that_is_wrong_is_one_sentence_for_the_operator(
    twitch: FakeTwitch, tokens: TokenFile
) -> None:
    chat = open_chat(twitch, tokens, ("mistyped",))
    del twitch.users["mistyped"]
    async with listening(chat, wait=False) as heard:
        await heard.until(lambda: bool(heard.of(ConnectionChanged)))
        assert heard.of(ConnectionChanged)[0].detail == (
            "Twitch knows none of [twitch] channels; mend them in config.toml"
        )


async def test_the_hourly_validation_notices_a_dead_sign_in(twitch: FakeTwitch, tokens: TokenFile) -> None:
    chat = open_chat(twitch, tokens, validate_every_s=0.05)
    async with listening(chat) as heard:
        assert set(COMPANION_SCOPES) == {"user:read:chat", "user:write:chat", "user:bot"}
        twitch.disconnect("backchat")
        await heard.until(lambda: "no longer valid" in heard.of(ConnectionChanged)[-1].detail)
