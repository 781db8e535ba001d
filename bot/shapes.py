"""What a private or harmful string looks like: links, addresses, numbers of phones, cards and people. Pure.

Shapes, not meanings: a false alarm costs one line out of several candidates, a miss costs somebody their privacy.
"""

import ipaddress
import re
import unicodedata
from typing import Literal

from bot.folding import letter_of

Shape = Literal["email", "link", "ip", "social_security", "card", "phone", "postal_address"]

# Top-level domains seen in chat spam and in ordinary links. Country codes that are also English words stay out unless
# a path or www. stands with them: "ok.so", "yes.no" and "go.to" are people who forgot a space.
_DOMAINS = (
    "com|net|org|tv|gg|io|info|xyz|app|dev|link|live|shop|store|online|site|club|pro|moe|art|ai|biz|top|vip|fun|icu|cc|ly|uk|de|"
    "fr|ru|jp|eu|ca|au|br|tk|ws|fm|pl|se|nl|ch|cz|kr|cn|gl|me|co|us|edu|gov|mil|space|website|tech|cloud|blog|news|wiki|stream|"
    "video|games|game|chat|zone|world|today|life|team|social|media|page|porn|sex|xxx|cam|dating|bet|casino|finance|crypto|eth|nft|"
    "health|rocks|zip|fyi|click|download|quest|sbs|cfd|cyou|monster|ninja|guru|webcam|ltd|studio|network|agency|digital|rent|"
    "c0m|0rg|xn--[a-z0-9-]+|рф|укр|бг|срб|中国|公司|みんな|ml|ga|cf|gq|su|ua|by|kz|in|it|es|at|be|dk|no|fi|pt|gr|ro|hu|tr|ir|il|mx|ar|cl|pe|nz|za|sg|hk|tw|th|vn|ph|id|my|pk|bd|to|im|sh"
)
_LINK = re.compile(
    r"[a-z][a-z0-9+.-]{1,15}:/{2}|\b(?:hxxp|http)s?\b|\bwww\d?\s?[.,]\s?\w|\bt\.me/|"
    r"\b(?:javascript|data|mailto|tel|steam|magnet|file|vbscript):\S|discord\s?(?:\.|dot|\(dot\)|\s)\s?gg\b|"
    rf"(?<![\w.@-])(?:[\w-]{{1,63}}\s?(?:[.]|\(\.\)|\[\.\]|\{{\.\}})\s?){{1,4}}(?:{_DOMAINS})(?![\w-])(?:\s?/|\b(?!\())|"
    r"\b[\w-]{2,63}\.[a-z]{2,24}/[\w?#]|\b[\w-]{3,63}\s(?:com|net|org|gg|tv|ly)/\w|\w\s?\.\s?c\s?o\s?m\b|"
    r"\b[\w-]{3,63}(?:\s?\*\s?(?:com|net|org|xyz|ru)|,\s?com)\b|"
    r"\b[\w-]{2,63}\s?(?:\(dot\)|\[dot\]|\{dot\}|\sdot\s)\s?"
    r"(?:com|c0m|net|org|tv|gg|io|me|co|de|xyz|ru|link|live|app)\b|"
    r"\b[\w-]{2,63}\s(?:punkt|punto|point|ponto)\s(?:com|net|org|gg|de|ru)\b",
    re.IGNORECASE,
)
_MAIL = re.compile(
    r"[\w.+-]{1,64}\s?(?:@|\(at\)|\[at\]|\{at\})\s?[\w-]{1,63}\s?(?:\.|\(dot\)|\[dot\]|\sdot\s)\s?[\w-]{2,24}|"
    r"[\w.+-]{2,64}\s?@\s?(?:gmail|hotmail|outlook|yahoo|proton\w*|icloud|gmx)\b|"
    r"\b[\w.+-]{2,64}\sat\s(?:gmail|hotmail|outlook|yahoo|proton\w*|icloud|gmx)\b",
    re.IGNORECASE,
)
_ADDRESS4 = re.compile(r"(?<![\d.])(?:\d{1,3}\s?(?:\.|\[\.\]|\sdot\s)\s?){3}\d{1,3}(?![\d.])", re.IGNORECASE)
_ADDRESS6 = re.compile(r"(?<![\w:])[0-9a-f:]{6,39}(?:\.\d{1,3}){0,3}(?![\w:])", re.IGNORECASE)
_SOCIAL_SECURITY = re.compile(r"(?<!\d)\d{3}[\s.-]\d{2}[\s.-]\d{4}(?!\d)")
_NUMBER = re.compile(r"(?<![\w#])\+?\(?\d(?:[\s()./·*_-]{0,3}\d){6,24}(?!\d)|(?<![\d,])\d{3},\d{3},\d{4}(?![\d,])")
_POSTAL = re.compile(
    r"\b\d{1,5}[a-z]?,?\s+(?:[^\W\d_][^\W\d]{1,19}[.'-]?[^\W\d]{0,9}\s+){1,3}"
    r"(?:street|str|st|avenue|ave|road|rd|lane|ln|drive|boulevard|blvd|court|ct|terrace|highway|hwy|parkway)"
    r"\b(?!\s+of\b)|"
    r"\bp\.?\s?o\.?\s?box\s?\d+|\b[A-Z]{2}\s\d{5}(?:-\d{4})?\b|\b[a-zß.-]{3,30}(?:stra(?:ß|ss)e|str\.)\s?\d{1,4}[a-z]?\b|"
    r"\brue\s(?:de\s)?(?:la\s)?[\w'-]{3,20}\s\d{1,4}\b|\b\d{1,4},?\srue\s[\w'-]{2,20}",
    re.IGNORECASE,
)
# What is an address only in the case that addresses are written in: "1 other way" is none, "12 Elm Way" is.
_WRITTEN_POSTAL = re.compile(
    r"\b[A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2}\b|"
    r"\b\d{1,4}[a-z]?,?\s(?:[A-Z][\w'-]+\s){1,2}(?:Way|Close|Place|Square|Grove|Gardens|Crescent|Row|Hill|Circle|Trail)\b|"
    r"\b(?:Via|Rua|Calle|Avenida|Av\.|Plaza|Piazza|ul\.|ulica|Am|An der|Unter den)\s"
    r"[A-Z]\w{2,}(?:\s[A-Z]\w+)?,?\s\d{1,4}\b|"
    r"\b[A-Z]\w{2,}(?:gatan|vägen|straat|laan|weg|gasse|platz|allee)\s\d{1,4}[a-z]?\b"
)


def plain(text: str) -> str:
    """Full-width and other compatibility forms of digits, dots and letters as the ordinary ones."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text).translate(_DRAWN)


_DRAWN = (
    {ord(dot): "." for dot in "。．｡․·•∙・"}
    | {ord(at): "@" for at in "＠﹫"}
    | {ord(slash): "/" for slash in "∕⁄⧸"}
    | {ord(dash): "-" for dash in "‐‑‒–—―−﹘﹣"}
    | {ord(colon): ":" for colon in "꞉ː∶︓：﹕"}
    | dict.fromkeys(map(ord, "\u20e3\ufe0e\ufe0f"), "")  # what makes a keycap of a digit
)


class _Latin(dict[int, str]):
    """For `str.translate`: letters of other scripts that are drawn like Latin ones, as those."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        letter = letter_of(character) if code > 127 else character
        self[code] = found = letter if letter.isascii() else character
        return found


_LATIN = _Latin()


def shape_of(text: str) -> Shape | None:
    """The reason code of the first harmful shape in a line, or None. Give it visible text."""
    found = _shape(plain(text))
    return found if found or text.isascii() else _shape(plain(text).translate(_LATIN))


def _shape(text: str) -> Shape | None:
    digits = sum(character.isdigit() for character in text)
    lowered = text.lower()
    if any(sign in lowered for sign in ("@", " at ", "at)", "at]", "at}")) and _MAIL.search(text):
        return "email"
    if any(sign in lowered for sign in _LINK_SIGNS):
        found = _LINK.search(text)
        if found and not _two_sentences(found.group()):
            return "link"
    if digits >= 4 and _ADDRESS4.search(text) and all_octets(text):
        return "ip"
    if text.count(":") >= 2 and any(_is_address6(found.group()) for found in _ADDRESS6.finditer(text)):
        return "ip"
    if digits >= 7:
        if _SOCIAL_SECURITY.search(text):
            return "social_security"
        for number in _NUMBER.finditer(text):
            reason = _number(number.group())
            if reason:
                return reason
    if digits and (_POSTAL.search(text) or _WRITTEN_POSTAL.search(text)):
        return "postal_address"
    return None


_LINK_SIGNS = (".", ":", "dot", "www", "xxp", "http", " gg", "/", "*", ",", " pun", " pon", " poin")


def _is_address6(found: str) -> bool:
    """Whether it is an IPv6 address of some length: 10:30:22 is a time, and ::1 is everybody's."""
    try:
        return len([part for part in found.split(":") if part]) > 2 and bool(ipaddress.IPv6Address(found))
    except ValueError:
        return False


def _two_sentences(found: str) -> bool:
    """`that is it. me too`: a dot with a space behind it ends a sentence unless a path follows."""
    return bool(re.search(r"\w[.]\s", found)) and "/" not in found and not re.search(r"\s[.]", found)


def all_octets(text: str) -> bool:
    """Whether a dotted number may be an address: 1.2.3.4 yes, version 300.2.1.999 no."""
    return any(all(int(part) < 256 for part in re.findall(r"\d+", found.group())) for found in _ADDRESS4.finditer(text))


def _number(found: str) -> Shape | None:
    digits = re.sub(r"\D", "", found)
    grouped = len(digits) != len(found)
    if 13 <= len(digits) <= 19 and luhn(digits) and len(set(digits)) > 1:
        return "card"
    if len(set(digits)) <= 2 or (digits.rstrip("0") != digits and len(digits.rstrip("0")) <= len(digits) // 2):
        return None  # 69696969, 1000000000: nobody's number
    if re.fullmatch(r"(?:19|20)\d\d\D{1,3}(?:19|20)\d\d(?:\D.*)?", found):
        return None  # a span of years
    if re.fullmatch(r"\d{1,3}(?:[., ]\d{3})+", found):
        return None  # 1,234,567,890
    if len(digits) >= 9 or (grouped and len(digits) >= 8) or found.startswith("+"):
        return "phone"
    if re.fullmatch(r"\d{3}[\s.-]\d{4}", found):
        return "phone"
    return None


def luhn(digits: str) -> bool:
    """The checksum that card numbers carry."""
    total = 0
    for at, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if at % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
