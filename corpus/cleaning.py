"""What of a message is fit to learn from: each rule one small function with its reason. Knows no models."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from corpus.message import ChatMessage
from corpus.settings import CleaningTable, CorpusTable

# Placeholders are plain words, so that a line with one is still a line that somebody could have typed.
LINK, MAIL, PHONE, ADDRESS = "[link]", "[mail]", "[phone]", "[address]"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A message that is not learned from, and why: one word for the summary tables."""

    reason: str


@dataclass(frozen=True)
class Rules:
    """The settings that cleaning needs."""

    known_bots: frozenset[str] = field(default_factory=frozenset)
    identical_lines: int = 20

    @classmethod
    def of(cls, corpus: CorpusTable, cleaning: CleaningTable, also: Iterable[str] = ()) -> "Rules":
        """`also` names further accounts that are never learned from, such as the companion's own."""
        bots = frozenset(name.lower() for name in (*corpus.known_bots, *also))
        return cls(known_bots=bots, identical_lines=cleaning.identical_lines)


# Zero-width and other invisible characters, variation selectors left alone because emoji need them; U+E0000 is what
# chat clients append to say the same thing twice. Soft hyphen, bidirectional marks and the word joiners serve to hide.
_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200c\u200e\u200f"
    "\u202a-\u202e\u2060-\u2064\u2066-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_ACTION = re.compile("^\x01ACTION ?(.*?)\x01?$", re.DOTALL)
_COMMAND = re.compile(r"^![^\W_]")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_LINK = re.compile(
    r"(?:https?://|www\.)\S+"
    r"|\b(?:[a-z0-9-]+\.)+(?:com|net|org|tv|gg|io|co|me|ly|be|de|uk|fr|ru|jp|us|eu|info|xyz|app|dev|link|live|gl|it|nl|es|ca"
    r"|au|br|tk|cc|ws|to|fm|im|pl|se|no|fi|dk|ch|at|cz|kr|cn|in|shop|store|online|site|club|pro|moe|art|ai)\b(?:/\S*)?",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])")
_ADDRESS6 = re.compile(r"(?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])", re.IGNORECASE)
_PHONE = re.compile(r"(?<![\w.])(?:\+\d|\(?\d)(?:[\s()./-]{0,2}\d){7,14}(?!\w)")
SHORTEST_PHONE = 8
_DIGIT = re.compile(r"\d")


def without_action(text: str) -> str:
    """`/me waves` arrives wrapped in control characters that nobody typed."""
    found = _ACTION.match(text)
    return found.group(1) if found else text


def without_invisible(text: str) -> str:
    """Invisible characters dodge filters and the duplicate rule; a model that learns them wastes tokens on nothing."""
    return text if text.isascii() and text.isprintable() else _INVISIBLE.sub("", text)


def without_links(text: str) -> str:
    """A model must not advertise, and no address should be learned by heart."""
    return _LINK.sub(LINK, text) if "." in text or "://" in text else text


def without_mail(text: str) -> str:
    """Somebody's address is private, whoever posted it."""
    return _MAIL.sub(MAIL, text) if "@" in text and "." in text else text


def without_network_addresses(text: str) -> str:
    """IP addresses are what doxxing looks like."""
    if "." in text:
        text = _ADDRESS.sub(ADDRESS, text)
    return _ADDRESS6.sub(ADDRESS, text) if text.count(":") >= 7 else text


def without_phone_numbers(text: str) -> str:
    """Eight to fifteen digits in a row, however grouped, are taken for a telephone number; `88888888` is applause."""
    if len(_DIGIT.findall(text)) < SHORTEST_PHONE:
        return text
    return _PHONE.sub(_number, text)


def with_single_spaces(text: str) -> str:
    """How somebody spaced a line says nothing, and every spacing would be a token of its own."""
    return " ".join(text.split())


def _number(found: re.Match[str]) -> str:
    return PHONE if len(set(_DIGIT.findall(found[0]))) > 1 else found[0]


def is_command(text: str) -> bool:
    """Lines to other bots teach the model to trigger bots."""
    return _COMMAND.match(text) is not None


def clean(message: ChatMessage, rules: Rules) -> str | Dropped:
    """The text to learn from, or why there is none. Floods are capped by `transcript`, which sees many lines."""
    if message.login in rules.known_bots:
        return Dropped("bot")
    return clean_text(message.text)


def clean_text(text: str) -> str | Dropped:
    """As `clean`, for text alone. Cleaning clean text changes nothing."""
    if not text.isascii() or not text.isprintable():
        text = without_invisible(without_action(text))
    text = " ".join(text.split())
    if not text:
        return Dropped("empty")
    if text[0] == "!" and is_command(text):
        return Dropped("command")
    if "." in text or ":" in text:  # every line of a corpus comes through here: most hold nothing to hide
        text = without_mail(text)
        text = without_links(text)
        text = without_network_addresses(text)
    return text if len(text) < SHORTEST_PHONE else without_phone_numbers(text)


@dataclass(frozen=True)
class Step:
    """One rule that rewrites: what an operator calls it, and the reason in a few words."""

    name: str
    reason: str
    apply: Callable[[str], str]


# In the order in which `clean_text` applies them, which skips what cannot match.
STEPS = (
    Step("/me", "the wrapper of an action is nothing that somebody typed", without_action),
    Step("invisible", "invisible characters only dodge filters", without_invisible),
    Step("spaces", "how a line is spaced says nothing", with_single_spaces),
    Step("mail", "an address is private, whoever posted it", without_mail),
    Step("link", "a model must not advertise", without_links),
    Step("address", "an IP address is what doxxing looks like", without_network_addresses),
    Step("phone", "eight to fifteen digits are taken for a telephone number", without_phone_numbers),
)
