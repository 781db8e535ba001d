"""The gate's memory: one person's sentence is not repeated, who left is not quoted, deleted is not said again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.actions import Line
from bot.chat import ChatterCleared, MessageDeleted, MessageReceived, Sent
from bot.guards import Guards
from bot.memorisation import Forgotten, Memorisation
from bot.outbox import Record
from bot.quarantine import Quarantine, teachers
from bot.safety import Gate
from bot.settings import SafetyTable
from corpus.message import ChatMessage
from corpus.shingles import Shingler, words_of
from corpus.store import Corpus

DIARY = "my cat Balthazar moved to the third floor of the yellow house near the harbour"
PASTA = "this is the song that never ends yes it goes on and on my friend"


def memory(*said: tuple[str, str], people: int = 3) -> Memorisation:
    guard = Memorisation(words=8, people=people, ready=False)
    guard.read(said)
    return guard


def refused(guard: Memorisation, text: str) -> bool:
    return guard.objection(text, "reply") is not None


def test_eight_words_in_a_row_of_one_person_are_refused_whatever_their_case_and_punctuation() -> None:
    guard = memory(("anna", DIARY))
    assert refused(guard, "so: MY cat, Balthazar - moved to the third floor!")
    assert not refused(guard, "my cat Balthazar moved to the third")


def test_copypasta_of_several_people_may_be_said() -> None:
    guard = memory(*((who, PASTA) for who in ("anna", "ben", "ben", "cleo")))
    assert not refused(guard, PASTA)
    assert refused(memory(*((who, PASTA) for who in ("anna", "ben", "ben"))), PASTA)


@pytest.mark.parametrize(
    "line",
    ["the soup was far too salty today", "soup was far too salty today", "oh the soup was far too salty"],
)
def test_nearly_all_of_a_short_message_is_refused_too(line: str) -> None:
    assert refused(memory(("anna", "the soup was far too salty today")), line)


NINE = "my cat Balthazar sleeps on the old green chair"


@pytest.mark.parametrize(
    "line",
    [
        "my cat Balthazar sleeps under the old green chair",
        "my cat Balthazar sleeps on old green chair",
        "my cat Balthazar sleeps on the very old green chair",
        "our cat Balthazar sleeps on the old green chair",
    ],
)
def test_a_message_with_one_word_changed_is_nearly_all_of_it(line: str) -> None:
    assert refused(memory(("anna", NINE)), line)
    assert not refused(memory(*((who, NINE) for who in ("anna", "ben", "cleo"))), line)


def test_a_message_with_two_words_changed_is_another() -> None:
    assert not refused(memory(("anna", NINE)), "my dog Balthazar sleeps under the old green chair")


def test_a_few_words_belong_to_nobody() -> None:
    assert not refused(memory(("anna", "good game everyone here")), "good game everyone here")


def test_what_is_said_live_is_guarded_at_once_and_templates_are_not() -> None:
    guard = memory()
    guard.learn("anna", DIARY)
    assert refused(guard, DIARY)
    assert guard.objection(DIARY, "command") is None


def test_everything_generated_is_held_back_until_the_chat_has_been_read() -> None:
    guard = Memorisation(words=8, people=3, ready=False)
    assert refused(guard, "one two three four five six")
    guard.read([])
    assert not refused(guard, "one two three four five six")


WORDS = st.lists(st.sampled_from("abcde"), min_size=5, max_size=14)


@given(st.lists(st.tuples(st.sampled_from("xyz"), WORDS), max_size=12), WORDS)
def test_the_index_agrees_with_a_plain_search(said: list[tuple[str, list[str]]], line: list[str]) -> None:
    guard = memory(*((who, " ".join(words)) for who, words in said), people=2)

    def runs(words: list[str]) -> set[tuple[str, ...]]:
        found = {tuple(words[at : at + 8]) for at in range(len(words) - 7)}
        if len(words) <= 8:
            found |= {tuple(part) for part in (words, words[1:], words[:-1]) if len(part) >= 5}
        return found

    def nearly(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words), *(tuple(words[:at] + words[at + 1 :]) for at in range(len(words)))}

    asked = {tuple(line[at : at + size]) for size in range(6, 9) for at in range(len(line) - size + 1)}
    expected = any(
        0 < len({who for who, words in said if run in runs(words)}) < 2 for run in asked
    ) or any(
        0 < len({who for who, words in said if len(words) >= 8 and part in nearly(words)}) < 2
        for part in nearly(line)
    )  # fmt: skip
    assert refused(guard, " ".join(line)) == expected


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append(
            [
                ChatMessage(f"{login}{at}", "room", login, text, 1_700_000_000_000 + at)
                for at, (login, text) in enumerate(
                    [
                        ("anna", "Zanzibella opened the blue gate again"),
                        ("ben", "somebody opened the blue gate again"),
                        ("ben", "nice jump there"),
                        ("anna", "nice jump there"),
                    ]
                )
            ]
        )
        yield corpus


def test_who_is_forgotten_is_not_quoted_until_a_clean_model_serves(corpus: Corpus) -> None:
    corpus.forget("anna")
    guard = Forgotten(corpus.shingler)
    guard.hold(corpus.suppressed())
    assert guard.objection("and zanzibella OPENED the gate", "reply")
    assert guard.objection("nice jump there", "reply"), "held back until it is known who else says it"
    guard.thin(stored.message.text for stored in corpus.messages())
    assert guard.objection("hello Zanzibella", "reply"), "a word that only she used"
    assert guard.objection("nice jump there", "reply") is None, "others say it too"
    guard.serves(corpus.last_removal() - 1)
    assert guard.objection("hello Zanzibella", "reply")
    guard.serves(corpus.last_removal())
    assert guard.objection("hello Zanzibella", "reply") is None


def test_suppression_outlives_a_restart_and_ends_with_a_clean_model(corpus: Corpus) -> None:
    corpus.opt_out("anna")
    with Corpus.open(corpus.database) as other:
        assert other.suppressed()
        assert other.end_suppression(other.last_removal()) > 0
    assert corpus.suppressed() == {}


def test_the_database_holds_no_word_of_who_was_forgotten(corpus: Corpus) -> None:
    corpus.forget("anna")
    written = b"".join(file.read_bytes() for file in corpus.database.parent.glob("chat.db*"))
    assert b"anzibella" not in written.lower()


def test_hashes_of_two_databases_cannot_be_compared() -> None:
    first, second = (set(Shingler(salt).shingles("Zanzibella opened the gate")) for salt in (b"1", b"2"))
    assert first.isdisjoint(second)


def own_line(text: str, message_id: str) -> Record:
    return Record(0, Line("room", text), Sent(message_id=message_id))


def test_a_line_that_a_moderator_deleted_is_never_said_again_nor_anything_like_it(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "quarantine.json")
    quarantine.on_record(own_line("the landlord eats soup at midnight", "own1"))
    quarantine.on_event(MessageDeleted("room", "somebody elses"))
    assert quarantine.objection("the landlord eats soup at midnight", "reply") is None
    quarantine.on_event(MessageDeleted("room", "own1"))
    for restarted in (quarantine, Quarantine(tmp_path / "quarantine.json")):
        assert restarted.objection("The Landlord eats soup at midnight!!", "reply")
        assert restarted.objection("well the landlord eats soup at night", "reply")
        assert restarted.objection("the landlord went home", "reply") is None


def test_a_narration_that_is_deleted_takes_the_sample_it_quotes_along(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "quarantine.json")
    for number, text in enumerate(
        ['Loss 3.21. I would now say "the landlord eats soup"', "Training starts now, wish me luck"]
    ):
        quarantine.on_record(Record(0, Line("room", text, "narration"), Sent(message_id=f"own{number}")))
        quarantine.on_event(MessageDeleted("room", f"own{number}"))
    assert quarantine.objection('New best: "the landlord eats soup"', "narration")
    assert quarantine.objection("the landlord eats soup", "reply")
    assert quarantine.objection("Training starts now, wish me luck", "narration") is None


def test_a_companion_that_is_timed_out_does_not_say_its_last_lines_again(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "quarantine.json", companion="backchat")
    lines = ["the first of them is long ago", "one about the landlord", "two about the kettle", "three about the moon"]
    for number, text in enumerate(lines):
        quarantine.on_record(own_line(text, f"own{number}"))
    quarantine.on_event(ChatterCleared("room", "somebody"))
    assert not any(quarantine.objection(text, "reply") for text in lines)
    quarantine.on_event(ChatterCleared("room", "backchat"))
    assert [bool(quarantine.objection(text, "reply")) for text in lines] == [False, True, True, True]


def test_what_taught_a_deleted_line_is_left_out_of_the_next_training(tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    with Corpus.open(database) as corpus:
        texts = ["the landlord eats soup", "soup at midnight is fine", "hello there friend"]
        corpus.append([ChatMessage(f"m{at}", "room", "anna", text, at + 1) for at, text in enumerate(texts)])
        guards = Guards(SafetyTable(), database, tmp_path, companion="backchat")
        guards.on_record(own_line("the landlord eats soup", "own1"))
        guards.on_event(MessageDeleted("room", "own1"))
        guards.settled()
        guards.close()
        assert [stored.message.text for stored in corpus.messages()] == texts[1:]
        assert [(removal.message_id, removal.reason) for removal in corpus.removals()] == [("m0", "quarantined")]
        corpus.opt_out("anna")
        corpus.opt_in("anna")
        assert [stored.message.text for stored in corpus.messages()] == texts[1:], "opting in again changes nothing"


def test_only_what_resembles_the_line_taught_it() -> None:
    messages = [(1, "so the landlord eats soup now"), (2, "the soup"), (3, "landlord"), (4, "eats soup with me")]
    assert teachers(words_of("the landlord eats soup"), messages) == [1]


def test_the_guards_of_a_running_bot_learn_what_they_hear_and_who_leaves(tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    with Corpus.open(database) as corpus:
        corpus.append([ChatMessage("m1", "room", "anna", DIARY, 1), ChatMessage("m2", "room", "backchat", PASTA, 2)])
        guards = Guards(SafetyTable(), database, tmp_path, companion="backchat")
        gate = Gate(guards=guards.all)
        assert gate.check(PASTA).reason == "memorised", "nothing has been read yet"
        guards.start()
        guards.settled()
        assert gate.check(DIARY).reason == "memorised"
        assert gate.check(PASTA).allowed, "its own words are not somebody's"
        guards.on_event(MessageReceived(ChatMessage("m3", "room", "ben", "the vault code is in the green teapot", 3)))
        assert gate.check("the vault code is in the green teapot").reason == "memorised"
        corpus.forget("anna")
        guards.left()
        guards.settled()
        assert gate.check("who is Balthazar").reason == "forgotten"
        guards.serves(corpus.last_removal())
        guards.settled()
        assert gate.check("who is Balthazar").allowed
        assert corpus.suppressed() == {}
        guards.close()
