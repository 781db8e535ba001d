"""Mute, shadow mode, budgets: at once, over a restart, and from either side."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.actions import Line, Say
from bot.chat import MessageDeleted, MessageReceived, Role, Sent
from bot.cli import app
from bot.commands import Invocation
from bot.control import ControlError, Mouth, read_state, seconds_of, write_private
from bot.facts import Facts
from bot.memorisation import Forgotten
from bot.outbox import Record
from bot.safety import Gate
from bot.safety_report import SafetyReport
from bot.settings import SafetyTable
from corpus.message import ChatMessage
from corpus.store import Corpus

LINE = Line("room", "hello chat")


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


def mouth_in(folder: Path, clock: Clock, *, twitch: bool = False, **settings: object) -> Mouth:
    return Mouth(SafetyTable.model_validate(settings), folder / "control.json", now_ms=clock, twitch=twitch)


def type_in(mouth: Mouth, text: str, *roles: Role) -> list[Say]:
    name, _, words = text.removeprefix("!").partition(" ")
    command = next(one for one in mouth.commands if name in (one.name, *one.aliases))
    event = MessageReceived(ChatMessage("m1", "room", "someone", text), frozenset(roles))
    return [action for action in command.run(Invocation(name, words, event, Facts(), 0)) if isinstance(action, Say)]


def test_a_mute_holds_at_once_and_ends_by_itself(tmp_path: Path, clock: Clock) -> None:
    mouth = mouth_in(tmp_path, clock)
    assert mouth.hold(LINE, clock()) is None
    type_in(mouth, "!mute 10m", "moderator")
    assert mouth.hold(LINE, clock()) == "muted"
    clock.ms += 10 * 60_000
    assert mouth.hold(LINE, clock()) is None


@pytest.mark.parametrize("text", ["!mute", "!shutup", "!mute for ever please"])
def test_a_mute_without_a_time_lasts_until_unmute_even_over_a_restart(tmp_path: Path, clock: Clock, text: str) -> None:
    type_in(mouth_in(tmp_path, clock), text, "broadcaster")
    clock.ms += 10**9
    restarted = mouth_in(tmp_path, clock)
    assert restarted.hold(LINE, clock()) == "muted"
    assert type_in(restarted, "!unmute", "moderator")
    assert restarted.hold(LINE, clock()) is None


@pytest.mark.parametrize("text", ["!mute", "!unmute", "!ok 1", "!no 1"])
def test_a_viewer_cannot_touch_the_mouth(tmp_path: Path, clock: Clock, text: str) -> None:
    mouth = mouth_in(tmp_path, clock, speak="shadow")
    mouth.hold(LINE, clock())
    before = mouth.report()
    assert type_in(mouth, text, "vip", "subscriber") == []
    assert mouth.report() == before


def test_a_damaged_state_file_is_silence(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "control.json").write_text("{half", encoding="utf-8")
    assert mouth_in(tmp_path, clock).hold(LINE, clock()) == "muted"


def test_the_command_line_mutes_a_bot_that_runs(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    mouth = mouth_in(tmp_path, clock)
    assert mouth.hold(LINE, clock()) is None
    monkeypatch.setenv("BACKCHAT_PATHS__DATA", str(tmp_path))
    said = CliRunner().invoke(app, ["mute"])
    assert (said.exit_code, said.stdout.strip()) == (0, "Muted until `backchat unmute` or !unmute.")
    assert mouth.hold(LINE, clock()) == "muted"
    CliRunner().invoke(app, ["unmute"])
    assert mouth.hold(LINE, clock()) is None


def test_the_state_file_is_private(tmp_path: Path, clock: Clock) -> None:
    mouth_in(tmp_path, clock).silence(None)
    assert (tmp_path / "control.json").stat().st_mode & 0o077 == 0


def test_on_twitch_it_starts_in_shadow_mode_until_somebody_ends_that(tmp_path: Path, clock: Clock) -> None:
    mouth = mouth_in(tmp_path, clock, twitch=True)
    assert mouth.hold(LINE, clock()) == "shadow"
    mouth.end_shadow()
    assert mouth.hold(LINE, clock()) is None
    assert mouth_in(tmp_path, clock, twitch=True).hold(LINE, clock()) is None
    assert mouth_in(tmp_path / "elsewhere", clock).hold(LINE, clock()) is None


def test_a_moderator_approves_or_rejects_single_lines(tmp_path: Path, clock: Clock) -> None:
    mouth = mouth_in(tmp_path, clock, speak="shadow")
    first, second = replace(LINE, text="first"), replace(LINE, text="second")
    for line in (first, second):
        mouth.hold(line, clock())
    assert [(waiting.number, waiting.line.text) for waiting in mouth.queue] == [(1, "first"), (2, "second")]
    assert type_in(mouth, "!no 1", "moderator") == []
    (said,) = type_in(mouth, "!ok #2", "moderator")
    assert said.line.text == "second"
    assert mouth.hold(said.line, clock()) is None
    assert mouth.hold(said.line, clock()) == "shadow", "an approval is for one time"
    assert type_in(mouth, "!ok 1", "moderator") == []
    with pytest.raises(ControlError, match="no line 1 is waiting"):
        mouth.decide(1, True)


def test_an_approved_line_is_not_said_while_muted(tmp_path: Path, clock: Clock) -> None:
    mouth = mouth_in(tmp_path, clock, speak="shadow")
    mouth.hold(LINE, clock())
    line = mouth.decide(1, True)
    mouth.silence(60)
    assert mouth.hold(line, clock()) == "muted"


def test_the_queue_keeps_only_the_newest_narration_and_nothing_that_answers_a_deleted_message(
    tmp_path: Path, clock: Clock
) -> None:
    mouth = mouth_in(tmp_path, clock, speak="shadow")
    for text in ("step 1", "step 2"):
        mouth.hold(Line("room", text, "narration"), clock())
    mouth.hold(Line("room", "answer", reply_to="m7"), clock())
    mouth.on_event(MessageDeleted("room", "m7"))
    assert [waiting.line.text for waiting in mouth.queue] == ["step 2"]


def test_what_answers_somebody_who_has_left_cannot_be_approved_any_more(tmp_path: Path, clock: Clock) -> None:
    mouth = mouth_in(tmp_path, clock, speak="shadow")
    told: list[int] = []
    mouth.changed = lambda: told.append(len(mouth.queue))
    for message_id in ("m7", "m8"):
        mouth.hold(Line("room", "answer", reply_to=message_id), clock())
    mouth.withdraw("m7")
    mouth.withdraw("m9")
    assert [waiting.line.reply_to for waiting in mouth.queue] == ["m8"]
    assert told == [1, 2, 1]


def test_the_words_of_who_is_forgotten_leave_queue_and_refusals(tmp_path: Path, clock: Clock) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append([ChatMessage("m1", "room", "anna", "Zanzibella opened the blue gate again", 1)])
        forgotten = Forgotten(corpus.shingler)
        gate, shown = Gate(guards=[forgotten]), []
        mouth = mouth_in(tmp_path, clock, speak="shadow")
        report = SafetyReport(gate, mouth, tmp_path, shown.append)
        mouth.changed = report.publish
        for text in ("she opened the blue gate", "hello chat"):
            mouth.hold(replace(LINE, text=text), clock())
        for text in ("/zanzibella opened the blue gate", "/ban me"):
            gate.check(text)
        report.publish()
        assert len(shown[-1]["queue"]) == 2
        corpus.forget("anna")
        forgotten.hold(corpus.suppressed())
        gate.check("Zanzibella opened the blue gate")
        report.publish()
        assert [line["text"] for line in shown[-1]["queue"]] == ["hello chat"]
        assert [line["text"] for line in shown[-1]["refusals"]] == ["", "/ban me", ""]
        forgotten.serves(corpus.last_removal())
        report.publish()
        assert [line["text"] for line in shown[-1]["refusals"]] == ["", "/ban me", ""]
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.suffix == ".json")
    assert b"blue gate" not in written and b"hello chat" in written


def test_budgets_bound_what_is_said_in_a_minute_and_in_an_hour(tmp_path: Path, clock: Clock) -> None:
    mouth = mouth_in(tmp_path, clock, lines_a_minute=2, lines_a_hour=3)

    def spoken() -> bool:
        held = mouth.hold(LINE, clock())
        if held is None:
            mouth.on_record(Record(clock(), LINE, Sent(message_id="x")))
        return held is None

    assert [spoken() for _ in range(3)] == [True, True, False]
    clock.ms += 60_000
    assert [spoken() for _ in range(2)] == [True, False]
    clock.ms += 3_600_000
    assert spoken()


@pytest.mark.parametrize(("words", "seconds"), [("10m", 600), ("90s", 90), ("1h30m", 5400), ("10", 600), ("", None)])
def test_times_are_read_as_people_write_them(words: str, seconds: int | None) -> None:
    assert seconds_of(words) == seconds


@pytest.mark.parametrize("words", ["soon", "0", "-5m", "99999h", "10m10m"])
def test_what_is_no_time_is_said_so(words: str) -> None:
    with pytest.raises(ControlError, match="is no time"):
        seconds_of(words)


def test_the_operator_sees_the_queue_and_the_refusals(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mouth, gate, shown = mouth_in(tmp_path, clock, speak="shadow"), Gate(now_ms=clock), []
    report = SafetyReport(gate, mouth, tmp_path, shown.append)
    mouth.hold(LINE, clock())
    gate.check("/ban me")
    gate.check("fine")
    report.publish()
    assert shown[-1]["queue"] == [{"number": 1, "text": "hello chat"}]
    assert shown[-1]["refused"] == {"command": 1}
    monkeypatch.setenv("BACKCHAT_PATHS__DATA", str(tmp_path))
    assert "#1  hello chat" in CliRunner().invoke(app, ["queue"]).stdout
    said = CliRunner().invoke(app, ["refusals"]).stdout
    assert "command (begins with /): /ban me" in said
    assert "Passed 1. Refused: command 1." in said


def test_go_live_and_shadow_change_sides(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKCHAT_PATHS__DATA", str(tmp_path))
    mouth = mouth_in(tmp_path, clock, twitch=True)
    CliRunner().invoke(app, ["go-live"])
    assert mouth.hold(LINE, clock()) is None
    CliRunner().invoke(app, ["shadow"])
    assert mouth.hold(LINE, clock()) == "shadow"
    assert read_state(tmp_path / "control.json").speak == "shadow"


def test_a_private_file_is_whole_or_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    write_private(file, {"a": 1})
    with pytest.raises(TypeError):
        write_private(file, {"a": object()})
    assert file.read_text(encoding="utf-8") == '{"a": 1}'
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_the_streamer_is_told_why_it_is_quiet_and_how_to_end_that(tmp_path: Path, clock: Clock) -> None:
    mouth = mouth_in(tmp_path, clock, twitch=True)
    assert "nothing waits" in mouth.held and "`backchat go-live`" in mouth.held
    mouth.hold(LINE, clock())
    assert "(1 waiting)" in mouth.held
    mouth.end_shadow()
    assert mouth.held == ""
    mouth.silence(60)
    assert mouth.held == "muted; `backchat unmute` ends it"
