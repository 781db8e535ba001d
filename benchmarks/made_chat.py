"""Chat made up for the corpus's benchmarks: Zipf's words, emotes, a few thousand chatters. Nobody's words."""

import random
from collections.abc import Iterator

START_MS = 1_704_110_400_000
EMOTES = ("LUL", "Kappa", "PogChamp", "KEKW", "OMEGALUL", "monkaS", "Pog", "xqcL")


def lines(count: int, *, chatters: int = 5_000, seed: int = 1) -> Iterator[tuple[int, str, str]]:
    """(sent_ms, login, text), three a second."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("etaoinshrdlucmfwypvbgk", k=chance.randint(2, 9))) for _ in range(20_000)]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    pool = chance.choices(words, weights, k=1_000_000)
    logins = [f"viewer_{number}" for number in range(chatters)]
    who = chance.choices(logins, [1 / (rank + 10) for rank in range(chatters)], k=100_000)
    place = 0
    for number in range(count):
        place = (place * 7 + number) % (len(pool) - 20)
        kind = number % 10
        if kind < 2:
            text = EMOTES[(number * 31) % len(EMOTES)]
        elif kind == 2:
            text = f"@{who[(number * 17) % len(who)]} {' '.join(pool[place : place + 3 + number % 9])}"
        else:
            text = " ".join(pool[place : place + 2 + (number * 13) % 11])
        yield START_MS + number * 333, who[(number * 29) % len(who)], text
