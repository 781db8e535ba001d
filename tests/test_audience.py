"""The simulated audience: its pace, its people, its reactions, and the script file behind it."""

import asyncio
import contextlib
import itertools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from bot.audience import Audience, Utterance, attend
from bot.chat import MessageReceived, OutgoingLine
from bot.persona import SCRIPT_FILE, Script, expand, load_script
from bot.room import EMOTES, ROOM_CHANNEL, Person, Room, RoomChat
from bot.storyline import Happening, Storyline
from corpus.errors import SettingsError
from corpus.message import ChatMessage


@pytest.fixture(scope="module")
def script() -> Script:
    return load_script()


@dataclass(frozen=True)
class Said:
    at_s: float
    utterance: Utterance
    message: ChatMessage


class Evening:
    """An audience replayed without waiting: every line it says is also heard by it, as in the room."""

    def __init__(self, script: Script, seed: int = 7) -> None:
        self.audience = Audience(script, "backchat", 0, Random(seed))
        self.said: list[Said] = []
        self.happenings: list[Happening] = []
        self.now_ms = 0

    def until(self, seconds: float) -> "Evening":
        while self.audience.next_ms <= seconds * 1000:
            self.now_ms = self.audience.next_ms
            for item in self.audience.due(self.now_ms):
                if isinstance(item, Happening):
                    self.happenings.append(item)
                else:
                    self.hear(item.person, item.text, item)
        self.now_ms = int(seconds * 1000)
        return self

    def hear(self, person: Person, text: str, utterance: Utterance | None = None, own: bool = False) -> ChatMessage:
        number = len(self.said) + self.now_ms
        message = ChatMessage(
            f"m{number}", "room", person.login, text, self.now_ms, display_name=person.name,
            reply_to=utterance.reply_to if utterance else None,
        )  # fmt: skip
        if utterance:
            self.said.append(Said(self.now_ms / 1000, utterance, message))
        self.audience.hear(message, self.now_ms, own=own)
        return message

    def between(self, start_s: float, end_s: float) -> list[Said]:
        return [said for said in self.said if start_s <= said.at_s < end_s]


@pytest.fixture(scope="module")
def hour(script: Script) -> Evening:
    return Evening(script).until(3600)


@pytest.mark.parametrize("seed", range(5))
def test_chat_is_brisk_at_first_and_settles_at_about_one_message_a_second(script: Script, seed: int) -> None:
    evening = Evening(script, seed).until(900)
    assert len(evening.between(0, 5)) >= 6
    assert 2 <= len(evening.between(0, 60)) / 60 <= 4.5
    assert 0.6 <= len(evening.between(180, 900)) / 720 <= 1.4


def test_chat_comes_in_waves(hour: Evening) -> None:
    counts = [len(hour.between(start, start + 10)) for start in range(120, 3600, 10)]
    mean = sum(counts) / len(counts)
    spread = sum((count - mean) ** 2 for count in counts) / len(counts)
    assert spread > 2 * mean, "a steady drip would have the variance of its mean"


def test_an_evening_with_the_same_seed_is_the_same_evening(script: Script) -> None:
    first, second = Evening(script, 3).until(120), Evening(script, 3).until(120)
    assert [said.message for said in first.said] == [said.message for said in second.said]
    assert [said.message for said in first.said] != [said.message for said in Evening(script, 4).until(120).said]


def test_everyone_speaks_and_nobody_speaks_alone(hour: Evening, script: Script) -> None:
    counts = Counter(said.message.login for said in hour.said)
    regulars = {persona.person.login for persona in script.personas}
    assert len(regulars) >= 12
    assert regulars <= set(counts)
    assert max(counts.values()) < 0.2 * len(hour.said)


def test_an_hour_of_it_is_varied_enough_to_learn_from(hour: Evening) -> None:
    texts = [said.message.text.lower() for said in hour.said]
    assert len(set(texts)) > 0.65 * len(texts)
    assert len({word for text in texts for word in text.split()}) > 1000


def test_the_audience_uses_every_command_and_calls_the_companion(hour: Evening) -> None:
    texts = [said.message.text for said in hour.said]
    for command in ("!say", "!loss", "!model", "!help"):
        assert any(text.split()[0] == command for text in texts), command
    assert sum(text.startswith("!") for text in texts) < 0.05 * len(texts)
    assert any(text.lower().startswith("@backchat") for text in texts)
    assert any(said.utterance.topic == "help" or said.utterance.topic == "say" for said in hour.between(0, 40))


def test_no_line_is_empty_overlong_or_left_with_a_hole(hour: Evening) -> None:
    for said in hour.said:
        assert 0 < len(said.message.text) <= 500
        assert "{" not in said.message.text and "  " not in said.message.text


def test_people_answer_each_other_under_the_message_they_mean(hour: Evening) -> None:
    ids = {said.message.id: said for said in hour.said}
    replies = [said for said in hour.said if said.utterance.reply_to]
    assert len(replies) > 0.03 * len(hour.said)
    for reply in replies:
        assert ids[reply.utterance.reply_to or ""].message.login != reply.message.login


def test_copypasta_spreads(hour: Evening) -> None:
    pastas = Counter(said.message.text for said in hour.said if said.utterance.topic == "pasta")
    assert max(pastas.values()) >= 3


def test_running_jokes_born_today_come_back(hour: Evening) -> None:
    born = [said for said in hour.said if said.utterance.topic == "coin"]
    assert born
    assert any(said.utterance.topic == "callback" for said in hour.said if said.at_s > born[0].at_s)


def test_the_companion_is_answered(script: Script) -> None:
    evening = Evening(script).until(120)
    before = len(evening.said)
    for line in range(6):
        evening.hear(Person("backchat"), "my loss is 2.31 nats a token now", own=True)
        evening.until(120 + (line + 1) * 12)
    topics = Counter(said.utterance.topic for said in evening.said[before:])
    assert topics["bot_loss"] >= 2


def test_a_newcomer_is_greeted_by_name_and_a_mention_is_answered(script: Script) -> None:
    evening = Evening(script).until(100)
    evening.hear(Person("Wanda"), "hello from me")
    evening.until(110)
    assert any(said.utterance.topic == "newcomer" for said in evening.between(100, 110))
    assert any("Wanda".lower() in said.message.text.lower() for said in evening.between(100, 110))
    asked = evening.hear(Person("Wanda"), "tinyhorse what do you think")
    evening.until(118)
    answers = [said for said in evening.between(110, 118) if said.utterance.reply_to == asked.id]
    assert [said.message.login for said in answers] == ["tinyhorse"]


def test_a_talkative_companion_cannot_drive_the_audience_mad(script: Script) -> None:
    evening = Evening(script).until(180)
    for tick in range(120):
        evening.hear(Person("backchat"), f"line {tick} about soup", own=True)
        evening.until(180 + (tick + 1) * 0.5)
    assert len(evening.between(180, 240)) < 150


def test_somebody_timed_out_does_not_say_what_they_were_about_to(script: Script) -> None:
    evening = Evening(script).until(30)
    for said in list(evening.said):
        evening.audience.lose(said.message.login)
    assert evening.audience._agenda == []


def test_a_raid_brings_new_people(script: Script) -> None:
    evening = Evening(script, 2)
    while not any(happening.raider for happening in evening.happenings):
        evening.until(evening.now_ms / 1000 + 60)
    raiders = [said for said in evening.said if said.utterance.topic == "raider"]
    regulars = {persona.person.login for persona in script.personas}
    evening.until(evening.now_ms / 1000 + 20)
    raiders = [said for said in evening.said if said.utterance.topic == "raider"]
    assert raiders and not {said.message.login for said in raiders} & regulars


def test_the_pretend_stream_fights_a_boss_until_it_falls(script: Script) -> None:
    story = Storyline(script, Random(1))
    happenings = [story.next(second * 1000) for second in range(400)]
    assert {"boss", "fail", "win", "close", "snack", "music", "cat", "raid"} <= {item.kind for item in happenings}
    for before, after in itertools.pairwise(happenings):
        if after.kind in ("fail", "win"):
            assert before.kind in ("boss", "close")


async def test_seated_in_a_room_the_audience_talks_and_stays_apart_from_people(script: Script) -> None:
    room = Room()
    chat = RoomChat(room)
    audience = Audience(script, "backchat", room.now_ms() - 3_000, Random(5))
    task = asyncio.create_task(attend(audience, room))
    heard: list[MessageReceived] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            async for event in chat.events():
                if isinstance(event, MessageReceived):
                    heard.append(event)
                    if len(heard) == 8:
                        break
    await chat.send(OutgoingLine(ROOM_CHANNEL, "hello"))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(heard) == 8
    assert all(room.is_simulated(event.message.login) for event in heard)
    assert not room.is_simulated("backchat")


@pytest.mark.parametrize("jump_s", [3 * 3600, -7 * 24 * 3600])
def test_after_the_machine_slept_or_its_clock_was_set_chat_goes_on_from_now(script: Script, jump_s: int) -> None:
    start_s = 10**6
    audience = Audience(script, "backchat", start_s * 1000, Random(5))
    audience.due(start_s * 1000 + 60_000)
    now_ms = (start_s + jump_s) * 1000
    audience.wake(now_ms)
    said = [item for item in audience.due(now_ms + 60_000) if isinstance(item, Utterance)]
    assert 10 < len(said) < 200
    assert now_ms < audience.next_ms < now_ms + 120_000


async def test_a_jump_of_the_clock_is_noticed(script: Script) -> None:
    clock_ms = 10**9
    room = Room(now_ms=lambda: clock_ms)
    heard: list[object] = []
    room.listen(heard.append)
    task = asyncio.create_task(attend(Audience(script, "backchat", clock_ms, Random(5)), room))
    await asyncio.sleep(0.05)
    clock_ms += 3 * 3600 * 1000
    for _ in range(100):
        clock_ms += 100
        await asyncio.sleep(0.02)
        if len(heard) >= 2:
            break
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert 2 <= len(heard) < 50


def test_every_emote_the_script_uses_is_one_the_room_has() -> None:
    words = set(SCRIPT_FILE.read_text(encoding="utf-8").replace('"', " ").replace(",", " ").split())
    assert {word for word in words if word.startswith("bc") and word[2:3].isupper()} <= set(EMOTES)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[lines]", "[lines]\nboring = ['{nothing}']", "[lines] boring: {nothing} is not a list of [words]"),
        ('name = "MossWitch"', 'name = "Moss Witch"', "persona.0.name"),
        ('name = "MossWitch"', 'name = "MossWitch"\npaice = 2', "persona.0.paice"),
        ("topics = { music = 8,", "topics = { muzak = 8,", "persona bassoonbandit: muzak is not a topic of [lines]"),
        ('loss = ["!loss"]', "", "[lines] loss is missing"),
        ("[stream]", "[stream", "cannot be read as TOML"),
    ],
)
def test_a_mistake_in_an_edited_script_is_one_sentence(tmp_path: Path, old: str, new: str, words: str) -> None:
    file = tmp_path / "audience.toml"
    text = SCRIPT_FILE.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_script(file)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_an_article_fits_the_word_behind_it() -> None:
    lists: list[dict[str, tuple[str, ...]]] = [{"thing": ("onion",)}]
    assert expand("a {thing} and a one", lists, {}, Random(0)) == "an onion and a one"
