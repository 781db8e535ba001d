"""A voice speaks from the first message, says names and not slots, and learns and forgets while it runs."""

import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from corpus.cleaning import Rules
from corpus.message import ChatMessage
from corpus.store import Corpus, StoredMessage
from trainer.settings import SamplingTable
from trainer.voice import Request, Voice, ngram_voice

WORDS = (
    "the",
    "boss",
    "is",
    "asleep",
    "again",
    "who",
    "let",
    "him",
    "cook",
    "nice",
    "jump",
    "no",
    "way",
    "hello",
    "chat",
)
NAMES = ("mossy", "pixel", "quartz", "juniper")
SAMPLING = SamplingTable()
RULES = Rules()


def message(number: int, text: str, login: str = "mossy") -> ChatMessage:
    return ChatMessage(
        id=f"m{number}", channel="room", login=login, text=text, sent_ms=1_700_000_000_000 + number * 700
    )


def chatter(count: int, seed: int = 0) -> list[ChatMessage]:
    """Lines of nobody: words drawn at random, some of them to somebody."""
    draw = random.Random(seed)
    said = []
    for number in range(count):
        text = " ".join(draw.choices(WORDS, k=draw.randint(2, 6)))
        said.append(message(number, f"@{draw.choice(NAMES)} {text}" if number % 5 == 0 else text, draw.choice(NAMES)))
    return said


def stored(messages: Sequence[ChatMessage]) -> Iterator[StoredMessage]:
    return (StoredMessage(row, said, "train") for row, said in enumerate(messages, start=1))


def voice_of(messages: Sequence[ChatMessage]) -> Voice:
    return ngram_voice(stored(messages), sampling=SAMPLING, rules=RULES)


@pytest.fixture(scope="module")
def voice() -> Voice:
    return voice_of(chatter(300))


def test_it_says_different_things_that_are_never_empty(voice: Voice) -> None:
    said = voice.generate(Request(conversation=chatter(10), candidates=6, seed=1))
    assert len(said) == 6
    assert all(candidate.text.strip() for candidate in said)
    assert len({candidate.text for candidate in said}) == 6
    assert [candidate.nats_per_token for candidate in said] == sorted(candidate.nats_per_token for candidate in said)


def test_the_same_seed_says_the_same(voice: Voice) -> None:
    request = Request(conversation=chatter(10), candidates=3, seed=7)
    assert voice.generate(request) == voice.generate(request)
    assert voice.generate(request) != voice.generate(Request(conversation=chatter(10), candidates=3, seed=8))


def test_every_candidate_begins_with_the_words_asked_for(voice: Voice) -> None:
    for prompt in ("the boss", "  hello   chat ", "zebra", "ünïcödé 🦓"):
        for candidate in voice.generate(Request(conversation=(), prompt=prompt, candidates=3, seed=2)):
            assert candidate.text.startswith(" ".join(prompt.split()))


def test_mentions_come_out_as_plain_names_and_never_as_a_ping() -> None:
    said = [message(number, "@pixel hello", NAMES[number % 2]) for number in range(60)]
    texts = [c.text for c in voice_of(said).generate(Request(conversation=said[-10:], candidates=4, seed=3))]
    assert any("pixel" in text for text in texts)
    assert not any("@" in text or "<s" in text for text in texts)


def test_one_message_is_enough_to_speak() -> None:
    assert voice_of([message(1, "first")]).generate(Request(conversation=(), seed=1))


def test_no_message_at_all_is_no_voice_but_no_error_either() -> None:
    voice_of([]).generate(Request(conversation=(), candidates=2, seed=1))


def test_a_new_joke_is_picked_up_and_forgotten_when_it_is_deleted() -> None:
    voice = voice_of(chatter(200))

    def chance() -> float:
        (likeliest,) = voice.next_tokens("zorbl", 1)
        return likeliest.chances["ngram"]

    before = chance()
    for number in range(1000, 1005):
        voice.learn(message(number, "zorbl zorbl zorbl"))
    assert chance() > before
    assert voice.next_tokens("zorbl zorb", 1)[0].text == "l"
    for number in range(1000, 1005):
        voice.unlearn(f"m{number}")
    assert chance() == before


def test_a_message_counted_at_the_start_can_be_unlearned_too() -> None:
    secret = message(999, "sesame sesame sesame")
    with_it, without = voice_of([*chatter(200), secret]), voice_of(chatter(200))
    with_it.unlearn("m999")
    assert {token.chances["ngram"] for token in with_it.next_tokens("sesame", 5)} != {0.0}
    request = Request(conversation=(), prompt="sesame", candidates=4, seed=4)
    assert not any("sesame sesame" in candidate.text for candidate in with_it.generate(request))
    assert len(without.generate(request)) == 4


def test_commands_and_bots_are_not_learned() -> None:
    voice = ngram_voice(stored(chatter(50)), sampling=SAMPLING, rules=Rules(known_bots=frozenset({"nightbot"})))
    before = voice.next_tokens("", 20)
    voice.learn(message(500, "!so someone"))
    voice.learn(message(501, "buy followers", login="nightbot"))
    assert voice.next_tokens("", 20) == before


def test_a_flood_of_one_line_is_learned_only_so_often() -> None:
    voice = ngram_voice(stored(chatter(50)), sampling=SAMPLING, rules=Rules(identical_lines=3))
    for number in range(500, 503):
        voice.learn(message(number, "spam spam spam"))
    before = voice.next_tokens("spam", 20)
    voice.learn(message(503, "spam spam spam"))
    assert voice.next_tokens("spam", 20) == before


def test_threads_may_speak_learn_and_unlearn_at_once() -> None:
    voice = voice_of(chatter(200))
    before = voice.next_tokens("the", 20)
    failures: list[BaseException] = []

    def live(first: int) -> None:
        try:
            for number in range(first, first + 20):
                voice.learn(message(number, f"line {number} of many"))
                voice.generate(Request(conversation=(), candidates=1, max_tokens=5, seed=number))
            for number in range(first, first + 20):
                voice.unlearn(f"m{number}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=live, args=(1000 * number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert voice.next_tokens("the", 20) == before


def test_a_voice_of_a_real_corpus_follows_its_deletions(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append([*chatter(100), message(999, "sesame sesame sesame")])
        voice = ngram_voice(corpus.messages(), sampling=SAMPLING, rules=RULES)
        assert voice.info.kind == "ngram" and voice.info.trained_messages == 101
        corpus.delete_message("m999")
        for removal in corpus.removals():
            voice.unlearn(removal.message_id)
    request = Request(conversation=(), prompt="sesame", candidates=4, seed=4)
    assert not any("sesame sesame" in candidate.text for candidate in voice.generate(request))
