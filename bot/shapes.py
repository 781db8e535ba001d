"""What a private or harmful string looks like: links, addresses, numbers of phones, cards and people. Pure.

Shapes, not meanings: a false alarm costs one line out of several candidates, a miss costs somebody their privacy.
"""

import re
import unicodedata
from typing import Literal

Shape = Literal["email", "link", "ip", "social_security", "card", "phone", "postal_address"]

# Top-level domains seen in chat spam and in ordinary links. Country codes that are also English words stay out unless
# a path or www. stands with them: "ok.so", "yes.no" and "go.to" are people who forgot a space.
_DOMAINS = (
    "com|net|org|tv|gg|io|info|xyz|app|dev|link|live|shop|store|online|site|club|pro|moe|art|ai|biz|top|vip|fun|icu|cc|ly|uk|de|"
    "fr|ru|jp|eu|ca|au|br|tk|ws|fm|pl|se|nl|ch|cz|kr|cn|gl|me|co|us|edu|gov|mil|space|website|tech|cloud|blog|news|wiki|stream|"
    "video|games|game|chat|zone|world|today|life|team|social|media|page|porn|sex|xxx|cam|dating|bet|casino|finance|crypto|eth|nft|"
    "ml|ga|cf|gq|su|ua|by|kz|in|it|es|at|be|dk|no|fi|pt|gr|ro|hu|tr|ir|il|mx|ar|cl|pe|nz|za|sg|hk|tw|th|vn|ph|id|my|pk|bd|to|im|sh"
)
_LINK = re.compile(
    r"[a-z][a-z0-9+.-]{1,15}:/{2}|hxxps?\b|\bwww\d?\s?[.,]\s?\w|discord\s?(?:\.|dot|\(dot\))\s?gg|\bt\.me/|"
    rf"(?<![\w.@-])(?:[\w-]{{1,63}}\s?(?:[.]|\(\.\)|\[\.\]|\{{\.\}})\s?){{1,4}}(?:{_DOMAINS})(?![\w-])(?:\s?/|\b(?!\s?\())|"
    r"\b[\w-]{2,63}\s?(?:\(dot\)|\[dot\]|\{dot\}|\sdot\s)\s?(?:com|net|org|tv|gg|io|me|co|xyz|ru|link|live|app)\b",
    re.IGNORECASE,
)
_MAIL = re.compile(
    r"[\w.+-]{1,64}\s?(?:@|\(at\)|\[at\]|\{at\})\s?[\w-]{1,63}\s?(?:\.|\(dot\)|\[dot\]|\sdot\s)\s?[\w-]{2,24}|"
    r"\b[\w.+-]{2,64}\sat\s(?:gmail|hotmail|outlook|yahoo|proton\w*|icloud|gmx)\b",
    re.IGNORECASE,
)
_ADDRESS4 = re.compile(r"(?<![\d.])(?:\d{1,3}\s?(?:\.|\[\.\]|\sdot\s)\s?){3}\d{1,3}(?![\d.])", re.IGNORECASE)
_ADDRESS6 = re.compile(r"(?<![\w:])(?:[0-9a-f]{1,4}:){2,7}:?(?:[0-9a-f]{1,4}:?){1,6}(?![\w:])", re.IGNORECASE)
_SOCIAL_SECURITY = re.compile(r"(?<!\d)\d{3}[\s.-]\d{2}[\s.-]\d{4}(?!\d)")
_NUMBER = re.compile(r"(?<![\w#])\+?\(?\d(?:[\s()./·-]{0,3}\d){6,24}(?!\d)")
_POSTAL = re.compile(
    r"\b\d{1,5}[a-z]?\s+(?:[a-z.'-]{2,20}\s+){1,3}"
    r"(?:street|str|st|avenue|ave|road|rd|lane|ln|drive|boulevard|blvd|court|ct|terrace|highway|hwy|parkway)"
    r"\b(?!\s+of\b)|"
    r"\bp\.?\s?o\.?\s?box\s?\d+|\b[A-Z]{2}\s\d{5}(?:-\d{4})?\b|\b[a-zß.-]{3,30}(?:stra(?:ß|ss)e|str\.)\s?\d{1,4}[a-z]?\b|"
    r"\brue\s(?:de\s)?(?:la\s)?[\w'-]{3,20}\s\d{1,4}\b|\b\d{1,4},?\srue\s[\w'-]{2,20}",
    re.IGNORECASE,
)
_BRITISH_CODE = re.compile(r"\b[A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2}\b")


def plain(text: str) -> str:
    """Full-width and other compatibility forms of digits, dots and letters as the ordinary ones."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text).translate(_DOTS)


_DOTS = {ord(dot): "." for dot in "。．｡․·•∙・"} | {ord(at): "@" for at in "＠﹫"} | {ord("∕"): "/", ord("⁄"): "/"}


def shape_of(text: str) -> Shape | None:
    """The reason code of the first harmful shape in a line, or None. Give it visible text."""
    text = plain(text)
    digits = sum(character.isdigit() for character in text)
    lowered = text.lower()
    if any(sign in lowered for sign in ("@", " at ", "at)", "at]", "at}")) and _MAIL.search(text):
        return "email"
    if any(sign in lowered for sign in (".", "://", "dot", "www", "hxxp", "gg")):
        found = _LINK.search(text)
        if found and not _two_sentences(found.group()):
            return "link"
    if digits >= 4 and _ADDRESS4.search(text) and all_octets(text):
        return "ip"
    if text.count(":") >= 3 and _ADDRESS6.search(text):
        return "ip"
    if digits >= 7:
        if _SOCIAL_SECURITY.search(text):
            return "social_security"
        for number in _NUMBER.finditer(text):
            reason = _number(number.group())
            if reason:
                return reason
    if digits and (_POSTAL.search(text) or _BRITISH_CODE.search(text)):
        return "postal_address"
    return None


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
