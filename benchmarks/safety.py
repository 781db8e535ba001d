"""How well the gate works: obfuscations caught, clean traps passed, every line of a real chat judged, time a line.

    python benchmarks/safety.py [CHAT.jsonl.gz] [--sample 20000] [--show profanity]

Compares with the profanity library alone. Prints no line of chat unless asked to (`--show REASON`, `--random 50`).
"""

import argparse
import codecs
import gzip
import json
import platform
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import profanex
from rich.console import Console
from rich.table import Table

from bot.safety import Gate

CHAT = Path(__file__).resolve().parent.parent.parent / "shared/data/twitch_vtuber_400k.jsonl.gz"

# Eight slurs and twelve other words, in ROT13: see bot/data/words.rot13.txt.
SLURS = "avttre avttn snttbg genaal ergneq puvax fcvp xvxr"
OTHERS = "shpx fuvg ovgpu nffubyr phag juber chffl oybjwbo fyhg qvyqb cbea encr"
WORDS = [codecs.decode(word, "rot13") for listed in (SLURS, OTHERS) for word in listed.split()]
CONFUSABLE = str.maketrans("aceiopxysjh", "асеіорхуѕјһ")
GREEK = str.maketrans("aeiounvkt", "αειουηνκτ")
LEET = str.maketrans("aeiostgb", "43105798")
LEET_SIGNS = str.maketrans("aeis", "@3!$")
TURNED = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ɐqɔpǝɟɓɥᴉɾʞlɯuodbɹsʇnʌʍxʎz")
SMALL_CAPITALS = str.maketrans("abcdefghijklmnoprtuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢ")
CURRENCIES = str.maketrans("abcefgklnopstuwy", "₳฿₵€₣₲₭₤₦ø₱$₮µ₩¥")
BRUSHED = str.maketrans("abcdefghijklmnopqrstuvwxyz", "卂乃匚ᗪ乇千Ꮆ卄丨フҜㄥ爪几ㄖ卩Ɋ尺丂ㄒㄩᐯ山乂ㄚ乙")
HOOKED = str.maketrans("abcdefgiklnoprstuvy", "ᶏɓƈɗҽʄɠɨƙɭɳɵƥɽʂƭʉʋƴ")
SUPERSCRIPT = str.maketrans("abcdefghijklmnoprstuvwxyz", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ")


def shifted(start: int) -> Callable[[str], str]:
    return lambda word: "".join(chr(start + ord(letter) - ord("a")) for letter in word)


def first_vowel_masked(word: str) -> str:
    at = next(at for at, letter in enumerate(word) if at and letter in "aeiou")
    return word[:at] + "*" + word[at + 1 :]


TRANSFORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda word: word,
    "upper case": str.upper,
    "mixed case": lambda word: "".join(each.upper() if at % 2 else each for at, each in enumerate(word)),
    "drawn out": lambda word: "".join(letter * 3 for letter in word),
    "last letter drawn out": lambda word: word + word[-1] * 5,
    "spaced": " ".join,
    "dotted": ".".join,
    "hyphened": "-".join,
    "underscored": "_".join,
    "split in two": lambda word: word[:2] + " " + word[2:],
    "split by a dot": lambda word: word[:2] + "." + word[2:],
    "digits for letters": lambda word: word.translate(LEET),
    "signs for letters": lambda word: word.translate(LEET_SIGNS),
    "masked vowel": first_vowel_masked,
    "zero width between": "\u200b".join,
    "soft hyphen between": "\u00ad".join,
    "accents": lambda word: "".join(letter + "\u0301" for letter in word),
    "zalgo": lambda word: "".join(letter + "\u0336\u0324\u030a" for letter in word),
    "full width": shifted(0xFF41),
    "mathematical script": shifted(0x1D4EA),
    "mathematical fraktur": shifted(0x1D586),
    "circled": shifted(0x24D0),
    "boxed": shifted(0x1F170),
    "flag letters": shifted(0x1F1E6),
    "Cyrillic lookalikes": lambda word: word.translate(CONFUSABLE),
    "Greek lookalikes": lambda word: word.translate(GREEK),
    "small capitals": lambda word: word.translate(SMALL_CAPITALS),
    "upside down": lambda word: word.translate(TURNED)[::-1],
    "currency signs": lambda word: word.translate(CURRENCIES),
    "brush strokes": lambda word: word.translate(BRUSHED),
    "hooked letters": lambda word: word.translate(HOOKED),
    "superscript": lambda word: word.translate(SUPERSCRIPT),
    "pipes between": "|".join,
    "emoji between": "\N{FIRE}".join,
    "wide spaces between": "\u3000".join,
    "tag characters between": "\U000e0061".join,
    "spaced dots": " . ".join,
    "spaced digits for letters": lambda word: " ".join(word.translate(LEET)),
    "joiners and upper case": lambda word: "\u200d".join(word.upper()),
    "right to left override": lambda word: f"\u202e{word}\u202c",
    "an emote between": lambda word: f"{word[:2]} Kappa {word[2:]}",
    "number behind": lambda word: word + "69",
    "punctuation around": lambda word: f"(({word}!!))",
    "inside a compound": lambda word: f"{word}-lord",
}

TRAPS = """
Scunthorpe | Penistone | Essex | Sussex | Middlesex | Clitheroe | Lightwater | Cockermouth | Cockburn Town
Dickinson | Hancock | Hitchcock | Niger | Nigeria | assassin | assassinate the captain | assess the damage
a new asset pack | class warfare | classic map | bass boosted | grass type | brass key | mass effect | cockpit view
peacock feathers | cocktail hour | a weathercock | woodcock | shuttlecock | cockatoo | cockroach boss
cocky little boss | cocker spaniel | grape juice | grapes of wrath | a drape | scrape by | skyscraper
therapist npc | document the route | circumstances | cucumber sandwich | accumulate souls | analysis paralysis
analyse the run | banal dialogue | canal level | arsenal stacked | parse the log | sparse map | coarse sand
rehearse it | hoarse voice | Kappa and chill | PogChamp moment | that was LUL worthy | KEKW what a fall
monkaS here we go | Jebaited again | BibleThump sad | catJAM time | OMEGALUL how | title screen | the titan fell
titanium ore | constitution check | institution | prostate exam joke | stitch it | petition signed | competition day
entity | the count is off | country roads | discount code | encounter rate | accountant build | county fair
recount it | viscount | mountain pass | fountain | snigger | niggle | vinegar chips | spicy noodles | spices
despicable | conspicuous | auspicious | chinks in armour | raccoon city | cocoon | tycoon game | coonskin
dyke road flood | van Dyke | fire retardant | retarding force | mustard gas map | custard | bastion | leotard
dastardly plan | tardis | tardy again | pakistan | shiitake mushrooms | matsushita | mishit the ball | push it
wish it was | finish it | British item | fish items | establish it | smash it | is hit again | pussycat
pussyfoot around | octopus sy | pus is gross | sextant | sextet | sexagesimal | hexes | unisex | asexual plants
essex lad | six items | sussex | swank | wankel engine | crowbar | buttress | button masher | butter | rebuttal
butterfly | buttercup | abut it | cum laude | cumin | cumulative | cumbersome | hello there | no scope | as she said
if u can | nice one | one more run | I am an assistant | the den is open | go to bed | we are so back | not bad
ok.then | that is it. me too | 3.14 is pi | version 1.2.3 | 1,234,567 points | 10:30 tonight | 2-0 up | 24/7 stream
step 3/10 | 12 deaths | 7-7-7 | kill the boss | shoot the drone | stab the dummy | bomb site B | smoke mid | he died
die already dragon | ride the horse | you killed it | headshot | wow... ok | no way! | what? why | lol :)
<3 you all | :D nice | ^_^ hi | o7 captain | +1 from me | 10/10 game | 50% off | A+ run | C++ mentioned
uranus is a planet | the sun | shift key | shirt | sheet music | sit down | fork it | duck hunt | truck sim
luck stat | puck drop | stuck again | bucket | heck yes | darn it | dang | frick | crud | shoot | gosh | holy moly
dagnabbit | fiddlesticks
"""


def traps() -> list[str]:
    return [trap for line in TRAPS.strip().splitlines() for trap in line.split(" | ")]


def obfuscations() -> list[tuple[str, str]]:
    """Every word through every transform: (transform, line)."""
    return [
        (name, f"well {transform(word)} that")
        for name, transform in TRANSFORMS.items()
        for word in WORDS
        if transform(word) != word or name == "plain"
    ]


def chat(path: Path, sample: int | None) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    if sample is not None and sample < len(texts):
        texts = random.Random(1).sample(texts, sample)
    yield from texts


def percentile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("chat", nargs="?", type=Path, default=CHAT)
    arguments.add_argument("--sample", type=int)
    arguments.add_argument("--show", help="print refused lines of this reason")
    arguments.add_argument("--random", type=int, default=0, help="print so many random refusals, to be judged by hand")
    options = arguments.parse_args()
    console = Console()
    gate = Gate()
    library = profanex.Filter(profanex.FilterConfig(normalize_separated_runs=True, normalize_repeated_chars=True))

    disguised = obfuscations()
    missed = [(name, line) for name, line in disguised if gate.check(line).allowed]
    by_library = sum(library.contains(line) for _, line in disguised)
    clean = traps()
    alarms = [(line, verdict.reason, verdict.detail) for line in clean if not (verdict := gate.check(line)).allowed]
    library_alarms = sum(library.contains(line) for line in clean)

    table = Table("", "gate", "profanex alone", title=f"{platform.processor() or platform.machine()}, one core")
    table.add_row(
        f"obfuscations caught, of {len(disguised)}",
        f"{1 - len(missed) / len(disguised):.1%}", f"{by_library / len(disguised):.1%}",
    )  # fmt: skip
    table.add_row(
        f"false alarms on clean traps, of {len(clean)}",
        f"{len(alarms)} ({len(alarms) / len(clean):.1%})", f"{library_alarms} ({library_alarms / len(clean):.1%})",
    )  # fmt: skip

    reasons: Counter[str] = Counter()
    times: list[float] = []
    refused: list[tuple[str, str, str]] = []
    library_refused = 0
    gate.remember("a line that nobody wrote")
    if options.chat.is_file():
        texts = list(chat(options.chat, options.sample))
        for text in texts:
            began = time.thread_time()
            verdict = gate.check(text)
            times.append(time.thread_time() - began)
            if verdict.reason is not None:
                reasons[verdict.reason] += 1
                refused.append((verdict.reason, verdict.detail, text))
        library_refused = sum(library.contains(text) for text in texts)
        times.sort()
        table.add_row(
            f"refused, of {len(texts):,} chat lines",
            f"{len(refused):,} ({len(refused) / len(texts):.2%})",
            f"{library_refused:,} ({library_refused / len(texts):.2%})",
        )
        table.add_row("µs of CPU a line, median", f"{percentile(times, 0.5) * 1e6:.0f}", "")
        table.add_row("µs of CPU a line, p99", f"{percentile(times, 0.99) * 1e6:.0f}", "")
        table.add_row("µs of CPU a line, slowest", f"{times[-1] * 1e6:.0f}", "")
    console.print(table)
    if reasons:
        by_reason = Table("reason", "lines", title="Refused chat lines by reason")
        for reason, count in reasons.most_common():
            by_reason.add_row(reason, f"{count:,}")
        console.print(by_reason)
    for name, count in Counter(name for name, _ in missed).most_common():
        console.print(f"missed: {name}: {count}", highlight=False)
    for line, reason, detail in alarms:
        console.print(f"false alarm: {line!r}: {reason} {detail}", highlight=False)
    chosen = [item for item in refused if item[0] == options.show] if options.show else refused
    if options.show or options.random:
        count = min(options.random or 60, len(chosen))
        for reason, detail, text in random.Random(7).sample(chosen, count):
            console.print(f"{reason:16} {detail:14.14} {text[:160]!r}", highlight=False, markup=False)


if __name__ == "__main__":
    main()
