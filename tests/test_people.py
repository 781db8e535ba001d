"""!optout, !optin, !forgetme, !privacy: for everybody, at once, against a real database."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bot.actions import Say
from bot.chat import ChatterCleared, MessageReceived
from bot.commands import Invocation, help_command
from bot.facts import Facts
from bot.narrator_lines import LINES
from bot.people import People
from bot.safety import Gate
from corpus.cleaning import Rules
from corpus.message import ChatMessage
from corpus.store import Corpus
from trainer.material import read_chat
from trainer.tokenizer import train_tokenizer


class Stage:
    """People over a real database, with what they told the rest of the bot."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.cleared: list[str] = []
        self.changes = 0
        self.work = ThreadPoolExecutor(1)
        self.people = People(
            corpus,
            keep_days=0,
            work=self.work,
            clear=lambda event: self.cleared.append(event.login),
            changed=self._count,
        )

    def _count(self) -> None:
        self.changes += 1

    def hear(self, text: str, *, own: bool = False) -> None:
        self.people.on_event(MessageReceived(said(text), own=own))
        self.work.submit(lambda: None).result()


def said(text: str, login: str = "viewer", number: int = 0) -> ChatMessage:
    return ChatMessage(f"{login}-{number}-{text}", "room", login, text, 1_700_000_000_000 + number)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append([said(f"line {number}", number=number) for number in range(5)] + [said("mine", "other")])
        stage = Stage(corpus)
        yield stage
        stage.work.shutdown()


def test_forgetme_empties_the_database_and_the_memory_of_whoever_asks(stage: Stage) -> None:
    stage.hear("!forgetme")
    assert [stored.message.login for stored in stage.corpus.messages()] == ["other"]
    assert stage.corpus.is_opted_out("viewer", "room")
    assert stage.people.has_left("viewer")
    assert (stage.cleared, stage.changes) == (["viewer"], 1)


def test_optout_withholds_and_optin_gives_back(stage: Stage) -> None:
    stage.hear("!optout")
    assert stage.corpus.count() == 1
    assert stage.people.has_left("viewer")
    stage.hear("!optin")
    assert stage.corpus.count() == 6
    assert not stage.people.has_left("viewer")
    assert stage.cleared == ["viewer"]


@pytest.mark.parametrize("wish", ["!optout", "!forgetme"])
def test_who_has_left_is_in_no_row_no_side_and_no_vocabulary(stage: Stage, wish: str) -> None:
    hours = 3_600_000
    stage.corpus.append([said(f"zanzibella opens gate {at}", "viewer", at * hours) for at in range(40)])
    stage.corpus.append([said(f"who opens the gate {at}", "other", at * hours + 1) for at in range(40)])

    def learned() -> tuple[list[str], set[str], set[str]]:
        chat = read_chat(stage.corpus, Rules())
        texts = [str(part) for line in (*chat.train, *chat.validation) for part in line.parts]
        spoken = {side for side in ("train", "validation") if any("zanz" in str(line) for line in getattr(chat, side))}
        tokenizer = train_tokenizer("word", texts, 512)
        return texts, spoken, {tokenizer.piece(token).strip() for token in range(tokenizer.vocab_size)}

    texts, spoken, vocabulary = learned()
    assert spoken == {"train", "validation"} and "zanzibella" in vocabulary
    stage.hear(wish)
    texts, spoken, vocabulary = learned()
    assert texts and not spoken and "zanz" not in " ".join(texts)
    assert "gate" in vocabulary and "zanzibella" not in vocabulary


@pytest.mark.parametrize("text", ["please !forgetme", "!forgetmenot", "hello"])
def test_nothing_else_forgets_anybody(stage: Stage, text: str) -> None:
    stage.hear(text)
    assert (stage.corpus.count(), stage.cleared) == (6, [])


def test_its_own_line_is_no_wish(stage: Stage) -> None:
    stage.hear("!forgetme", own=True)
    assert stage.corpus.count() == 6


@pytest.mark.parametrize("name", ["privacy", "optout", "optin", "forgetme"])
def test_the_answers_are_one_line_that_the_gate_lets_through(stage: Stage, name: str) -> None:
    command = next(command for command in stage.people.commands if command.name == name)
    assert command.free, "nobody waits to be forgotten"
    assert not command.moderators_only
    event = MessageReceived(said(f"!{name}"))
    (action,) = command.run(Invocation(name, "", event, Facts(), 0))
    assert isinstance(action, Say)
    assert Gate().check(action.line.text, "command").allowed
    assert action.line.reply_to == event.message.id


def test_the_wish_is_clear_before_the_database_has_answered(stage: Stage) -> None:
    blocked = stage.work.submit(stage.cleared.index, "never")  # something the database thread is busy with
    stage.people.on_event(MessageReceived(said("!optout")))
    assert stage.people.has_left("viewer")
    assert isinstance(blocked.exception(), ValueError)
    assert ChatterCleared("room", "viewer").login in stage.cleared


def test_whoever_meets_it_is_told_that_it_is_a_bot_and_how_to_leave(stage: Stage) -> None:
    introductions = [*LINES["awake"], *LINES["awake_again"]]
    for line in introductions:
        assert "bot" in line
        assert "!privacy" in line or "!optout" in line
    (answer,) = help_command("backchat", stage.people.commands).run(
        Invocation("help", "", MessageReceived(said("!help")), Facts(), 0)
    )
    assert isinstance(answer, Say)
    assert "bot" in answer.line.text
    assert "!optout" in answer.line.text
