"""The companion answers who speaks to it, waits its turn, forgets what is deleted, and never talks to itself."""

import random
from collections.abc import Callable

import pytest

from bot.actions import Action, Generate, Learn, Line, Say, Unlearn
from bot.chat import ChatterCleared, MessageDeleted, MessageReceived, RoomCleared, Sent, StreamChanged
from bot.commands import Command, Invocation
from bot.companion import CONVERSATION_SPAN_MS, Companion
from bot.facts import Facts, Point, Speaking, Training
from bot.settings import BotTable
from corpus.message import ChatMessage

FACTS = Facts(messages=420, speaking=Speaking("mixture", "run/step-000500", 500, 1_234_567, 1024, "bpe", 400))


def companion(
    commands: tuple[Command, ...] = (), excluded: Callable[[ChatMessage], bool] = lambda message: False, **knobs: object
) -> Companion:
    settings = BotTable.model_validate({"talk_after_lines": 0} | knobs)
    made = Companion(settings, randomness=random.Random(1), commands=commands, excluded=excluded)
    made.facts = FACTS
    return made


def said(
    text: str, login: str = "ann", id: str = "m1", *, roles: tuple[str, ...] = (), **more: object
) -> MessageReceived:
    message = ChatMessage(id=id, channel="here", login=login, text=text, reply_to=more.pop("reply_to", None))  # type: ignore[arg-type]
    return MessageReceived(message, roles=frozenset(roles), **more)  # type: ignore[arg-type]


def only(actions: list[Action], kind: type[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, kind)]


@pytest.mark.parametrize("text", ["backchat hi", "hi @Backchat!", "what do you think, BACKCHAT?"])
def test_who_says_its_name_is_answered_below_their_message(text: str) -> None:
    (request,) = only(companion().on_event(said(text), 0), Generate)
    assert isinstance(request, Generate)
    assert (request.reply_to, request.login, request.kind) == ("m1", "ann", "reply")
    assert request.conversation[-1].text == text


@pytest.mark.parametrize("text", ["hello", "backchatter", "mybackchat", "back chat"])
def test_who_does_not_say_its_name_is_only_learned_from(text: str) -> None:
    event = said(text)
    assert companion().on_event(event, 0) == [Learn(event.message)]


def test_an_answer_to_its_own_line_is_answered() -> None:
    bot = companion()
    bot.on_said(Line("here", "I am a bot"), Sent(message_id="own-1"), 0)
    assert only(bot.on_event(said("are you really", reply_to="own-1"), 100), Generate)


def test_it_never_answers_or_learns_its_own_echo_and_lines_of_another_room() -> None:
    bot = companion()
    assert bot.on_event(said("backchat says backchat", own=True), 0) == []
    assert bot.on_event(said("hi backchat", other_room=True), 0) == []


def test_who_is_excluded_is_neither_answered_learned_nor_quoted() -> None:
    bot = companion(excluded=lambda message: message.login == "nightbot")
    assert bot.on_event(said("hey backchat", login="nightbot"), 0) == []
    assert bot.on_event(said("!say hi", login="nightbot"), 0) == []
    (request,) = only(bot.on_event(said("backchat?", id="m2"), 0), Generate)
    assert isinstance(request, Generate)
    assert [message.login for message in request.conversation] == ["ann"]


def test_a_viewer_waits_for_their_cooldown_and_all_for_the_common_one() -> None:
    bot = companion(cooldown_s=2, viewer_cooldown_s=8)
    ask = lambda login, at_ms, *roles: bool(  # noqa: E731
        only(bot.on_event(said("backchat", login=login, roles=roles), at_ms), Generate)
    )
    assert ask("ann", 0)
    assert not ask("bob", 1_900)
    assert ask("bob", 2_000)
    assert not ask("ann", 7_900)
    assert ask("ann", 8_000)
    assert ask("mod", 8_001, "moderator")
    assert ask("mod", 8_002, "moderator")
    assert ask("host", 8_003, "broadcaster")


def test_a_failed_generation_costs_nothing_and_is_excused() -> None:
    bot = companion()
    (request,) = only(bot.on_event(said("backchat"), 0), Generate)
    assert isinstance(request, Generate)
    (excuse,) = bot.on_failed(request)
    assert isinstance(excuse, Say)
    assert excuse.line.reply_to == "m1"
    assert only(bot.on_event(said("backchat", id="m2"), 10), Generate)


def test_a_conversation_with_one_person_is_bounded_and_goes_on_later() -> None:
    bot = companion(conversation_turns=3, cooldown_s=0, viewer_cooldown_s=0)
    answers = [bool(only(bot.on_event(said("backchat", roles=("moderator",)), at), Generate)) for at in range(5)]
    assert answers == [True, True, True, False, False]
    assert only(bot.on_event(said("backchat", roles=("moderator",)), CONVERSATION_SPAN_MS + 10), Generate)


def test_it_talks_unasked_only_after_enough_lines_of_others_and_not_at_once_again() -> None:
    bot = companion(talk_after_lines=3)
    talked = [bool(only(bot.on_event(said("hm", id=f"m{at}"), at * 1000), Generate)) for at in range(100)]
    first = talked.index(True)
    assert first == 2
    assert talked.index(True, first + 1) * 1000 - first * 1000 >= 45_000


def test_without_a_model_it_says_so_instead_of_nothing() -> None:
    bot = companion()
    bot.facts = Facts(messages=1)
    (answer,) = only(bot.on_event(said("backchat hello"), 0), Say)
    assert isinstance(answer, Say)
    assert "1 message" in answer.line.text and "1 messages" not in answer.line.text


def test_a_deleted_message_leaves_the_conversation_and_is_unlearned() -> None:
    bot = companion()
    bot.on_event(said("my address is", id="m1"), 0)
    bot.on_event(said("fine", id="m2", login="bob"), 0)
    assert bot.on_event(MessageDeleted("here", "m1"), 0) == [Unlearn(("m1",))]
    (request,) = only(bot.on_event(said("backchat", id="m3"), 0), Generate)
    assert isinstance(request, Generate)
    assert [message.id for message in request.conversation] == ["m2", "m3"]


@pytest.mark.parametrize("text", ["!say my address is", "!loss"])
@pytest.mark.parametrize("gone", [MessageDeleted("here", "m1"), ChatterCleared("here", "ann"), RoomCleared("here")])
def test_a_deleted_command_takes_its_answer_back_too(
    text: str, gone: MessageDeleted | ChatterCleared | RoomCleared
) -> None:
    bot = companion()
    bot.on_event(said(text), 0)
    assert bot.on_event(gone, 0) == [Unlearn(("m1",))]


def test_everything_of_a_banned_chatter_is_unlearned_even_when_long_scrolled_away() -> None:
    bot = companion()
    for number in range(100):
        bot.on_event(said("spam", id=f"m{number}", login="bad" if number % 2 else "ann"), 0)
    (unlearn,) = bot.on_event(ChatterCleared("here", "bad"), 0)
    assert isinstance(unlearn, Unlearn)
    assert sorted(unlearn.message_ids) == sorted(f"m{number}" for number in range(1, 100, 2))


def test_a_cleared_room_leaves_nothing() -> None:
    bot = companion()
    bot.on_event(said("one", id="m1"), 0)
    assert bot.on_event(RoomCleared("here"), 0) == [Unlearn(("m1",))]
    assert bot.on_event(RoomCleared("here"), 0) == []


def test_in_an_offline_channel_it_neither_talks_nor_learns_unless_told_to() -> None:
    quiet, told = companion(), companion(offline=True)
    for bot in (quiet, told):
        bot.on_event(StreamChanged("here", online=False), 0)
    assert quiet.on_event(said("backchat"), 0) == []
    assert only(told.on_event(said("backchat"), 0), Generate)
    quiet.on_event(StreamChanged("here", online=True), 0)
    assert only(quiet.on_event(said("backchat"), 0), Generate)


def test_say_passes_the_words_on_and_is_not_learned() -> None:
    bot = companion()
    (request,) = bot.on_event(said("!say the best game is"), 0)
    assert isinstance(request, Generate)
    assert (request.prompt, request.kind) == ("the best game is", "command")
    assert request.conversation == ()


@pytest.mark.parametrize("text", ["!songrequest x", "!", "!!", "! say x", "!?"])
def test_what_is_not_its_command_is_left_to_others(text: str) -> None:
    actions = companion().on_event(said(text), 0)
    assert only(actions, Generate) == only(actions, Say) == []


def answer_to(bot: Companion, text: str) -> str:
    (action,) = bot.on_event(said(text), 0)
    assert isinstance(action, Say)
    return action.line.text


@pytest.mark.parametrize(
    ("text", "reply_to", "command"),
    [
        ("@backchat !forgetme", None, "!forgetme"),
        ("@BackChat, !help", None, "!help"),
        ("@SomeLogin !forgetme", "own-1", "!forgetme"),
        ("@bob !forgetme deletes it all", None, None),
        ("@bob !forgetme deletes it all", "m0", None),
        ("@backchat hello", "own-1", None),
    ],
)
def test_a_command_typed_as_a_reply_to_it_is_understood_and_advice_to_others_is_not(
    text: str, reply_to: str | None, command: str | None
) -> None:
    bot = companion()
    bot.on_said(Line("here", "I am a bot"), Sent(message_id="own-1"), 0)
    event = bot.understood(said(text, reply_to=reply_to))
    assert isinstance(event, MessageReceived)
    assert event.message.text == (command or text)


def test_help_discloses_that_it_is_a_bot_that_learns_and_lists_the_commands() -> None:
    bot = companion()
    text = answer_to(bot, "!help")
    assert "bot" in text and "trained on this chat" in text
    for command in bot.commands:
        assert command.moderators_only or f"!{command.name}" in text


def test_loss_quotes_the_real_curve() -> None:
    bot = companion()
    points = tuple(Point(step, 7.0 - step / 100, 4.0 - step / 200) for step in range(0, 401, 50))
    bot.facts = Facts(420, FACTS.speaking, Training("run", 400, 2000, 300, 1_000_000, curve=points, mixture_bits=1.87))
    text = answer_to(bot, "!loss")
    assert "3.00" in text and "from 7.00" in text and "step 400 of 2,000" in text and "1.87 bits" in text
    assert "█▇▆▅▅▄▃▂▁" in text


def test_loss_before_any_training_says_so() -> None:
    assert "No loss yet" in answer_to(companion(), "!loss")


def test_model_tells_its_size_and_what_it_was_trained_on() -> None:
    text = answer_to(companion(), "!model")
    assert "1.2M parameters" in text and "400 messages" in text and "run/step-000500" in text


def test_free_commands_work_for_the_excluded_and_moderator_commands_only_for_moderators() -> None:
    def run(asked: Invocation) -> list[Action]:
        return asked.answer(f"done {asked.words}")

    commands = (
        Command("forgetme", "forgets you", run, free=True),
        Command("mute", "silence", run, aliases=("shutup",), moderators_only=True),
    )
    bot = companion(commands, excluded=lambda message: True)
    assert only(list(bot.on_event(said("!forgetme please"), 0)), Say)
    bot = companion(commands)
    assert bot.on_event(said("!shutup 10m"), 0) == []
    (answer,) = bot.on_event(said("!ShutUp 10m", roles=("moderator",)), 0)
    assert isinstance(answer, Say)
    assert answer.line.text == "done 10m"
