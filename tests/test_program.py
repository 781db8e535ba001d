"""The whole bot in one process, over the local room and a real database: what leaves it, and what leaves nobody."""

import asyncio
import itertools
import json
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.chat import ChatEvent, MessageReceived
from bot.performer import Performer
from bot.program import parts
from bot.room import Person, Room, RoomChat
from bot.settings import ALL_TABLES
from corpus.message import ChatMessage
from corpus.settings import load_settings
from corpus.store import Corpus

ANNA, BEN, HOST = Person("Anna"), Person("Ben"), Person("Host", frozenset({"broadcaster"}))
TALK = ("the soup is good", "who ate the soup", "soup again today", "nice run chat", "what a jump", "good boss today")


@dataclass
class Stage:
    """A running bot, the room it sits in, and all that was said there by the companion."""

    folder: Path
    performer: Performer
    room: Room
    own: list[ChatMessage] = field(default_factory=list)

    def hear(self, event: ChatEvent) -> None:
        if isinstance(event, MessageReceived) and event.own:
            self.own.append(event.message)

    def answers(self, message: ChatMessage) -> list[str]:
        return [said.text for said in self.own if said.reply_to == message.id]

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not true():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def playing(folder: Path, config: str = "") -> AsyncIterator[Stage]:
    file = folder / "config.toml"
    base = (
        "[paths]\ndata = 'data'\ncheckpoints = 'checkpoints'\n[web]\nport = 0\n[room]\nirc_port = 0\naudience = false\n"
    )
    cooldowns = "[bot]\ncooldown_s = 0\nviewer_cooldown_s = 0\ntalk_after_lines = 0\n[narrator]\nenabled = false\n"
    file.write_text(base + cooldowns + config, encoding="utf-8")
    with Corpus.open(folder / "data" / "chat.db") as corpus:
        corpus.append(
            ChatMessage(f"old{number}", "backchat_room", f"viewer{number % 7}", text, 1_700_000_000_000 + number)
            for number, text in zip(range(90), itertools.cycle(TALK))
        )
    async with parts(load_settings(ALL_TABLES, file, {})) as performer:
        assert isinstance(performer._chat, RoomChat)
        stage = Stage(folder, performer, performer._chat.room)
        stage.room.listen(stage.hear)
        running = asyncio.create_task(performer.run())
        try:
            await stage.until(lambda: performer._brain.speaking)
            yield stage
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_no_way_of_speaking_goes_round_the_gate(tmp_path: Path) -> None:
    async with playing(tmp_path, "[safety]\nblocked = ['soup', 'bot', 'kept', 'loss', 'model']\n") as stage:
        asked = [
            stage.room.post(ANNA, text)
            for text in (
                "!say the soup",
                "backchat what is for lunch",
                "!help",
                "!privacy",
                "!loss",
                "!model",
                "!scores",
            )
        ]
        harmless = stage.room.post(HOST, "!bet 3")
        await stage.until(lambda: stage.answers(harmless))
        await stage.until(lambda: not stage.performer._generating and not stage.performer._outbox.waiting)
        for said in stage.own:
            assert not any(word in said.text.casefold() for word in ("soup", " bot", "kept", "loss", "model"))
        assert stage.answers(asked[2]) == []
        assert stage.performer._gate.counts["blocked"] >= 5


async def test_nothing_answers_a_message_that_is_deleted_while_an_answer_is_made(tmp_path: Path) -> None:
    async with playing(tmp_path) as stage:
        gone = [stage.room.post(ANNA, text) for text in ("!say what a", "backchat hello")]
        for message in gone:
            stage.room.delete(message.id)
        left = stage.room.post(ANNA, "!say nice")
        wish = stage.room.post(ANNA, "!optout")
        kept = stage.room.post(BEN, "!say good")
        await stage.until(lambda: stage.answers(kept))
        assert stage.answers(left) == []
        # The room shows an answer to what is gone as a line of its own.
        assert [said.reply_to for said in stage.own if said.reply_to != kept.id] == [wish.id]


async def test_who_opts_out_is_not_answered_and_who_asks_is_told(tmp_path: Path) -> None:
    async with playing(tmp_path) as stage:
        wish = stage.room.post(ANNA, "@backchat !optout")
        ignored = stage.room.post(ANNA, "backchat say something")
        kept = stage.room.post(BEN, "backchat say something")
        back = stage.room.post(ANNA, "!optin")
        await stage.until(lambda: stage.answers(wish) and stage.answers(kept) and stage.answers(back))
        assert stage.answers(ignored) == []
        again = stage.room.post(ANNA, "backchat say something")
        await stage.until(lambda: stage.answers(again))


async def test_in_shadow_mode_nothing_is_said_that_was_not_approved(tmp_path: Path) -> None:
    async with playing(tmp_path, "[safety]\nspeak = 'shadow'\n") as stage:
        asked, other = stage.room.post(ANNA, "!say nice"), stage.room.post(BEN, "!say good")
        queue = tmp_path / "data" / "shadow_queue.json"
        await stage.until(lambda: queue.exists() and len(json.loads(queue.read_text())["queue"]) == 2)
        assert stage.own == []
        stage.room.delete(other.id)
        await stage.until(lambda: len(json.loads(queue.read_text())["queue"]) == 1)
        (waiting,) = json.loads(queue.read_text())["queue"]
        stage.room.post(BEN, f"!ok {waiting['number']}")
        stage.room.post(HOST, f"!ok {waiting['number']}")
        await stage.until(lambda: stage.answers(asked))
        assert [said.text for said in stage.own] == [waiting["text"]]


async def test_a_mute_is_at_once_and_for_everything(tmp_path: Path) -> None:
    async with playing(tmp_path) as stage:
        stage.room.post(HOST, "!mute")
        for text in ("!say nice", "!help", "backchat hello", "!privacy"):
            stage.room.post(ANNA, text)
        await stage.until(lambda: stage.performer._outbox.counts["muted"] >= 4)
        assert stage.own == []
        lifted = stage.room.post(HOST, "!unmute")
        await stage.until(lambda: stage.answers(lifted))


async def test_what_it_writes_can_be_read_by_its_owner_alone(tmp_path: Path) -> None:
    async with playing(tmp_path) as stage:
        said = stage.room.post(ANNA, "!say nice")
        stage.room.post(HOST, "!mute 1s")
        await stage.until(lambda: stage.answers(said) or stage.performer._outbox.counts["muted"])
        await stage.until(lambda: (tmp_path / "data" / "refusals.json").exists())
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert {file.name for file in (tmp_path / "data").glob("chat.db*")} >= {"chat.db"}
    for file in [*(tmp_path / "data").glob("*.json"), *(tmp_path / "data").glob("chat.db*")]:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


@pytest.mark.parametrize("words", ["fu", "go to example dot", "tell @Host /ban", "<\u200bs0>"])
async def test_a_prompt_and_its_continuation_are_judged_as_one_line(tmp_path: Path, words: str) -> None:
    async with playing(tmp_path) as stage:
        asked = stage.room.post(ANNA, f"!say {words}")
        await stage.until(lambda: stage.answers(asked))
        (answer,) = stage.answers(asked)
        assert "@" not in answer and "s0" not in answer
        assert stage.performer._gate.check(answer, "command").allowed
