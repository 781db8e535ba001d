"""The fold: what a line says once case, lookalike letters, leet, spacing, masks and repeats no longer hide it. Pure.

Knows no bad words. `bot/wordlist.py` folds its words the same way, so that both sides meet.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

# What a letter is drawn as. Only single characters: two that draw one (vv for w) are in the word list as spellings.
_LOOKALIKES = {
    target: letter
    for letter, drawn in {
        "a": "аαａ@4ΔλɐᗩᎪ∆₳卂ム", "b": "вьъβ8ßᏴᗷƄ฿乃", "c": "сϲς¢©ᏟᑕↃɔ<₵₡匚", "d": "ԁɗᎠᗪԀ",
        "e": "еєэε€3ɛəǝᎬ∃ℯΣҽ乇", "f": "ғƒϝɟᖴ₣ʄ千", "g": "ɡցǥ69ɢᏀ₲Ꮆᘜ", "h": "нһհɥᎻᕼ卄ん", "i": "іιɩı1!|¡ӏįᎥ丨ノ",
        "j": "јϳᎫᒍフ", "k": "кκʞᏦ₭Ҝ", "l": "ⅼɭ£ʟᏞᒪ₤ㄥ", "m": "мϻᎷᗰ爪", "n": "пηոииɴᑎИ₦几刀れ",
        "o": "оοօ0øσ°ᎾᝪΘθㄖ", "p": "рρþᏢᑭ₱₽卩", "q": "ԛգɊ", "r": "гяɹᎡᖇ®Γⲅ尺", "s": "ѕʂ5$§ꜱᏚᔕ₴丂",
        "t": "тτ7+†ʇᎢէ₮₸ㄒナ", "u": "υսцʋμᑌʉㄩ", "v": "ѵνᴠʌᏙᐯ√", "w": "ԝωшщɯɰᎳʍ₩山", "x": "хχ×᙭乂",
        "y": "уγүʏ¥ʎᎩㄚ", "z": "ᴢʐᏃ乙",
    }.items()
    for target in drawn
}  # fmt: skip
_LETTER_NAME = re.compile(
    r"(?:LATIN (?:SMALL |CAPITAL )?|SYMBOL |SQUARED |CIRCLED |COMBINING LATIN SMALL |BLACK-LETTER |DOUBLE-STRUCK )"
    r"?LETTER (?:SMALL CAPITAL |SCRIPT |DOTLESS |TURNED |REVERSED |OPEN |INSULAR |BARRED |LONG )*([A-Z])(?: WITH |$)"
)
# Upside-down writing uses turned letters where it must, and ordinary ones that look like others where it can.
_TURNED = frozenset("ɐɔǝɟɥᴉɯɹʇʌʍʎʞɓƃɾןʃ")
_UPRIGHT = str.maketrans(
    "ɐɔǝɟɥᴉɯɹʇʌʍʎʞɓƃɾןʃnubqdpmw", "acefhimrtvwykggjllunqbpdwm",
)  # fmt: skip
# Digits and signs that may stand for a letter inside a word, and that are themselves at its edge: "shit!" ends in a
# sign, "sh!t" does not.
_SIGNS = frozenset("!|+$@<*.,?:;\"'()[]{}~^=&%#-_/\\°©®×†§")
_MASKS = frozenset("*#_-•.%&?●○◦■□▪◆★☆♥✱✖×∗⁎")
_VOWEL_LIKE = frozenset("aeiou")
CACHED_LENGTH = 24

_ORDINARY_WORDS = (
    "a ah am an and any are as ass at back bad be been big bit bits but by can case cut dam day did do dog down eat "
    "ed en er fan far few for fun gal game get go good got had hand has he head her here him his hit hit hole hot "
    "how i ill im in ing is it its ive job just keep kid kit last let lets lol low mad man me mod more most much my "
    "nah nap new no not now of off oh ok old on one or our out own pen per pit play ran rap re read real red rest "
    "said same saw say see set she sing so some song spot st such tab take tar team tell ten than that the them "
    "then there they this time to too top try two u up us use very was way we well went were what when who why will "
    "win with won y yay yeah yes yet yo you your "
)
_ORDINARY = frozenset(_ORDINARY_WORDS.split())


@lru_cache(maxsize=8192)
def letter_of(character: str) -> str:
    """The plain lower-case letter that a character is drawn as; itself where it is none, "" if invisible."""
    if character in _LOOKALIKES:
        return _LOOKALIKES[character]
    if character.isascii():
        return character.lower()
    category = unicodedata.category(character)
    if category in ("Mn", "Me", "Cf", "Cc", "Cs", "Co", "Cn"):
        return ""
    named = _LETTER_NAME.search(unicodedata.name(character, ""))
    if named:
        return named.group(1).lower()
    lowered = character.casefold()
    if lowered != character and len(lowered) == 1:
        return letter_of(lowered)
    return lowered


def visible(text: str) -> str:
    """Without the characters that nobody sees: controls, zero-width, tags, direction marks. Line ends become spaces."""
    if text.isascii() and text.isprintable():
        return text
    kept: list[str] = []
    for character in text:
        category = unicodedata.category(character)
        if category in ("Mn", "Me") and (not kept or kept[-1] == " "):
            continue  # an accent of nothing
        if character in "\t\n\r\v\f\x85\u2028\u2029" or category == "Zs":
            kept.append(" ")
        elif character in "\ufe0e\ufe0f\u200d" and kept and not kept[-1].isascii():
            kept.append(character)  # emoji are put together with these
        elif category not in ("Cc", "Cf", "Cs", "Co", "Cn") and character not in _BLANK:
            kept.append(character)
    return "".join(kept)


_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180e\u2800\u3164\uffa0\ufe0e\ufe0f")


def decomposed(text: str) -> str:
    """Compatibility forms, accents and everything invisible gone; ﬁ is fi, 𝓯 is f, é is e."""
    if text.isascii():
        return text
    return "".join(
        character
        for character in unicodedata.normalize("NFKD", text)
        if unicodedata.category(character) not in ("Mn", "Me", "Cf") and character not in _BLANK
    )


@dataclass(frozen=True, slots=True)
class Token:
    """One word as it may be meant. `letters` has repeats kept; `key` is it with every run of a letter made one.

    `whole`: the letters stood together in the line, or nearly so; else a sign stood between them, and only a bad word
    that takes up all of them counts. `masked`: stars stand for letters.
    """

    letters: str
    key: str
    whole: bool = True
    masked: bool = False


@dataclass(frozen=True, slots=True)
class Folded:
    """A line folded: its `words` one by one for phrases, every reading of each as `tokens`.

    `apart` is for words that were taken apart: the letters of each space-separated part, and the same without the
    emotes and names between them. An ordinary short word is marked by False: a bad word that is put together of
    nothing but such words was not hidden there on purpose.
    """

    words: tuple[str, ...]
    tokens: tuple[Token, ...]
    apart: tuple[tuple[tuple[str, ...], tuple[bool, ...]], ...]

    @property
    def sentence(self) -> str:
        """The words in order, single spaces between and around, so that ` kill you ` can be looked for."""
        return f" {' '.join(self.words)} "


def collapsed(letters: str) -> str:
    """Every run of one letter as one: goooood → god. Run lengths are compared afterwards, see `covers`."""
    return "".join(letter for letter, _ in groupby(letters))


def runs(letters: str) -> tuple[int, ...]:
    """How long each run is, in the order of `collapsed`."""
    return tuple(len(list(run)) for _, run in groupby(letters))


def covers(said: str, word: str) -> bool:
    """Whether letters with one and the same `collapsed` form may be a drawn-out `word`: cooon is coon, con is not."""
    return all(have >= need for have, need in zip(runs(said), runs(word), strict=True))


def token(letters: str, *, whole: bool = True, masked: bool = False) -> Token:
    return Token(letters, collapsed(letters), whole, masked)


def fold(line: str) -> Folded:
    """Fold one line. Linear in its length; at most a bounded number of readings a word."""
    words: list[str] = []
    tokens: dict[Token, None] = {}
    pieces: list[str] = []
    between: list[str] = []  # the same without what stands between the pieces of a word as one picture or name
    single: list[str] = []
    for chunk in decomposed(line).split():
        found = _fold_chunk(chunk) if len(chunk) <= CACHED_LENGTH else _fold_chunk.__wrapped__(chunk)
        words += found.words
        tokens.update(dict.fromkeys(found.tokens))
        if len(chunk) == 1 or found.piece:
            single.append(letter_of(chunk) if len(chunk) == 1 else found.piece)
        if found.piece:
            pieces.append(found.piece)
            if chunk[0] != "@" and not _EMOTE.fullmatch(chunk):
                between.append(found.piece)
    for letters in _letter_by_letter(single):
        tokens[token(letters)] = None
    return Folded(
        tuple(_put_together(words)),
        tuple(tokens),
        tuple(
            (apart, tuple(piece not in _ORDINARY for piece in apart))
            for apart in dict.fromkeys((tuple(pieces), tuple(between)))
        ),
    )


_EMOTE = re.compile(
    r"[a-z]{0,12}[A-Z][a-z]+[A-Z]\w*|(?:Kappa|Keepo|Jebaited|Pog|Sadge|LUL|LULW|KEKW|OMEGALUL|monka\w+|peepo\w+|pepe\w*)"
)


@dataclass(frozen=True, slots=True)
class _Chunk:
    words: tuple[str, ...]
    tokens: tuple[Token, ...]
    piece: str


@lru_cache(maxsize=16_384)
def _fold_chunk(chunk: str) -> _Chunk:
    """One space-separated part of a line. Remembered, because chat says the same words all day."""
    readings = _readings(chunk)
    tokens = [token(reading, whole=whole) for reading, whole in readings.items()]
    if not chunk.isascii() and any(character in _TURNED for character in chunk):
        tokens += [token(reading[::-1]) for reading in _readings(chunk.translate(_UPRIGHT))]
    if len(chunk) > 2 and any(character in _MASKS for character in chunk):
        masked = "".join("*" if character in _MASKS else letter_of(character) for character in chunk.rstrip(".?"))
        tokens.append(Token(masked, masked, True, True))
    return _Chunk(tuple(_words(chunk)), tuple(tokens), next(iter(readings), ""))


def _readings(chunk: str) -> dict[str, bool]:
    """The letter strings that one space-separated piece may stand for, the plainest first, and whether each is whole.

    Whole is what had no sign between its letters, or one between any two: `f.u.c.k` is a word, `yes.hit` are two.
    """
    lowered = chunk.lower()
    if lowered.isascii() and lowered.isalpha():
        return {lowered: True}
    start, end = 0, len(chunk)
    while start < end and chunk[start] in _SIGNS:
        start += 1
    while end > start and chunk[end - 1] in _SIGNS:
        end -= 1
    found: dict[str, bool] = {}
    lengths = [len(piece) for piece in _SEPARATORS.split(chunk[start:end]) if piece]
    whole = len(lengths) < 2 or max(lengths) == 1
    for part in (chunk[start:end], chunk):  # "shit!" and "sh!t": a sign at the edge may be one or a letter
        if not any(letter_of(character).isalpha() for character in part):
            continue
        if not any(character.isalpha() for character in part) and not _drawn(part):
            continue  # nothing but digits and signs: a number, a smiley
        letters = "".join(plain for plain in map(letter_of, part) if plain.isalpha())
        found.setdefault(letters, whole)
        if "1" in part or "|" in part or "!" in part:  # may be i or l
            found.setdefault(
                "".join("l" if c in "1|!" else letter_of(c) for c in part if letter_of(c).isalpha()), whole
            )
    spelled = [at for at, character in enumerate(chunk) if character.isalpha() or _drawn(character)]
    if 2 < len(spelled) < len(chunk):  # what else there is may stand for nothing: n|o|p|e, nope69, no@pe
        letters = "".join(letter_of(chunk[at]) for at in spelled)
        inner = chunk[spelled[0] : spelled[-1] + 1]
        found[letters] = found.get(letters, False) or len(inner) in (len(spelled), 2 * len(spelled) - 1)
    for piece in _SEPARATORS.split(chunk):  # what stands between signs, each for itself
        if piece and piece != chunk:
            letters = "".join(plain for plain in map(letter_of, piece) if plain.isalpha())
            if letters and any(character.isalpha() for character in piece):
                found[letters] = True
    return found


_SEPARATORS = re.compile(r"[^\w@$!|+]+|_+")


def _drawn(part: str) -> bool:
    """Whether signs alone are meant as letters, as boxed or flag letters are."""
    return any(not character.isascii() and letter_of(character).isalpha() for character in part)


def _words(chunk: str) -> list[str]:
    """The words of a chunk for phrase matching: apostrophes and sentence marks gone, leet inside a word undone."""
    spoken: list[str] = []
    for piece in re.split(r"[^\w'’@$!|]+|_+", chunk):
        stripped = piece.strip("'’!|").replace("'", "").replace("’", "")
        if not stripped:
            continue
        aged = _AGED.fullmatch(stripped)
        if stripped.isdigit() or aged:
            spoken += aged.groups() if aged else [stripped]
            continue
        spoken.append("".join(map(letter_of, stripped)) if not stripped.isalpha() or not stripped.isascii()
                      else stripped.lower())  # fmt: skip
    return [collapsed_long(word) for word in spoken]


def _put_together(words: list[str]) -> list[str]:
    """Words for phrases, with those written one letter at a time as one: k i l l you."""
    found: list[str] = []
    run: list[str] = []
    for word in [*words, ""]:
        if len(word) == 1 and word.isalpha():
            run.append(word)
            continue
        found += ["".join(run)] if len(run) > 2 else run
        run = []
        if word:
            found.append(word)
    return found


_AGED = re.compile(r"(\d{1,2})(yo|yrs?)", re.IGNORECASE)
_LONG_RUN = re.compile(r"(.)\1{2,}")


def collapsed_long(word: str) -> str:
    """killlll → kill: a run of three or more becomes two, or one where the word is known no other way."""
    return _LONG_RUN.sub(r"\1\1", word)


def _letter_by_letter(pieces: list[str]) -> list[str]:
    """Words written one letter at a time, put together."""
    found: list[str] = []
    run: list[str] = []
    for piece in [*pieces, ""]:
        if len(piece) == 1:
            run.append(piece)
            continue
        if len(run) > 2 and any(letter.isalpha() for letter in run):
            found.append("".join(letter for letter in run if letter.isalpha()))
        run = []
    return found
