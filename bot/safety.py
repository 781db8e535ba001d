"""The last gate before chat and overlay: every finished line passes it or is refused with a reason code.

Pure but for its word lists and for what it has been told (its own last lines, what is not to be said again). Knows
neither the model nor the service.
"""

import re
import unicodedata
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import profanex

from bot.actions import LineKind
from bot.folding import Folded, decomposed, fold, visible
from bot.settings import SafetyTable
from bot.shapes import plain, shape_of
from bot.topics import Topics
from bot.topics import built_in as built_in_topics
from bot.wordlist import SEVERITY, Word, WordKind, WordList
from bot.wordlist import built_in as built_in_words
from corpus.errors import SettingsError

Reason = Literal[
    "empty", "too_long", "command", "impersonation", "lone_emote", "repeat", "link", "email", "phone", "ip", "card",
    "social_security", "postal_address", "slur", "sexual", "violence", "profanity", "blocked", "age", "threat",
    "self_harm", "hate", "drugs", "topic", "memorised", "forgotten", "quarantined", "markup",
]  # fmt: skip

LONGEST = 500
OWN_LINES = 30
REFUSALS_KEPT = 200
COMMAND_CHARACTERS = frozenset("/.!?#]>$\\❗❕⁄∕⧸⧵")
_MENTION = re.compile(r"@+(?=\w)")
_WORD_MENTION = re.compile(r"(?<!\w)@+(?=\w)")  # not the one inside a word, where it is drawn for an a
_SPEAKER = re.compile(
    r"""^(?:\[[^\[\]]{1,12}\]|\d{1,2}:\d\d(?::\d\d)?|[^\w<«:"'“])*\s?"""  # a badge, a time, a picture before the name
    r"(?:@?(\w{2,25})(?:\s?[\])*]*\s?[:»≫]\s(?![()DP3|/])|:(?=[^\W\d_]{3}[^:]*$))|[<«]\s?@?(\w{2,25})\s?[>»]\s)"
)
# What people and templates put before a colon without being anybody.
_LABEL_WORDS = (
    "me you chat note edit ps psa tldr fun fact loss step status update breaking news reminder warning spoiler "
    "question answer nobody no one everyone also plan result verdict rule lesson today tomorrow mood context "
    "conclusion attempt score level bet bets points place results vote poll winner winners help commands "
)
_LABELS = frozenset(_LABEL_WORDS.split())
_MARKUP = re.compile(r"<\|?/?[a-z_]*\d*\|?>|\[/?(?:inst|system|user|assistant)\]|<<sys>>|\x00", re.IGNORECASE)
_EMOTE = re.compile(
    r"[a-z]{0,12}[A-Z][a-z]*[A-Z]\w*|[A-Z]{3,12}\d?|(?:Kappa|Keepo|Jebaited|Pog|monka\w+|peepo\w+|pepe\w*|xqcL)\d*"
)
# Words on the library's list that ordinary people say in front of children, or that mean something else in a game.
_MILD = (
    "bloody", "dink", "dinks", "dommes", "busty", "dvda", "babeland", "barenaked", "cok", "duche", "doosh",
    "choad", "cummer", "coochie", "cooter",
    "birdlock", "bimbos", "booty call", "camel toe",
    "dirsa", "boob job", "cialis", "dookie", "chode", "bunghole",
    "cawk", "cipa", "blonde action", "bung hole", "cornhole", "beaver lips", "auto erotic",
)  # fmt: skip
_KIND_OF: dict[str, WordKind] = {
    "slurs": "slur", "sexual": "sexual", "violence": "violence", "general": "profanity", "excretory": "profanity",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """`text` is the line as it may be said: one line, nothing invisible, no ping. `detail` is for the operator."""

    allowed: bool
    text: str
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused line, kept for the operator to look at."""

    time_ms: int
    kind: LineKind
    reason: Reason
    detail: str
    text: str


class Guard(Protocol):
    """A further rule with a memory of its own: memorisation, forgotten words, quarantine."""

    def objection(self, text: str, kind: LineKind) -> tuple[Reason, str] | None:
        """Why this line must not be said, or None. A "reply" was generated, a "command" is a template of ours."""


class Gate:
    """Checks finished lines. Counts and keeps what it refused; `guards` are further rules, asked last.

    Raises `SettingsError` when `[safety] allowed` names a slur or the phrase file is wrong.
    """

    def __init__(
        self,
        settings: SafetyTable | None = None,
        *,
        guards: Sequence[Guard] = (),
        now_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self._settings = settings = settings or SafetyTable()
        self.guards: list[Guard] = list(guards)
        self._now_ms = now_ms
        listed = built_in_words()
        self._innocent_phrases = listed.phrases
        allowed = self._allowed(listed.words, settings.allowed)
        blocked = [fold(phrase).words for phrase in settings.blocked]
        self._words = WordList(
            [
                *(word for word in listed.words if word.letters not in allowed),
                *(Word(phrase[0], "blocked") for phrase in blocked if len(phrase) == 1),
            ],
            listed.innocent,
        )
        self._blocked_phrases = tuple(f" {' '.join(phrase)} " for phrase in blocked if phrase)
        self._library = profanex.Filter(
            profanex.FilterConfig(
                extra_allowlist=[*_MILD, *settings.allowed],
                normalize_separated_runs=True,
                normalize_repeated_chars=True,
            )
        )
        self._topics: Topics = built_in_topics(settings.phrases)
        self._own: deque[str] = deque(maxlen=OWN_LINES)
        self.counts: Counter[str] = Counter()
        self.refusals: deque[Refusal] = deque(maxlen=REFUSALS_KEPT)

    @staticmethod
    def _allowed(words: Sequence[Word], allowed: Sequence[str]) -> frozenset[str]:
        letters = {"".join(fold(word).words) for word in allowed}
        slurs = WordList(word for word in words if word.kind == "slur")
        for word in allowed:
            if slurs.find(fold(word)):
                raise SettingsError(
                    "config.toml: [safety] allowed names a slur; slurs are refused at every level, remove it"
                )
        return frozenset(letters)

    def check(self, line: str, kind: LineKind = "reply") -> Verdict:
        """Whether a finished line may be said, and how. A refusal is counted and kept for the operator."""
        verdict = self._judge(line, kind)
        self.counts["passed" if verdict.allowed else str(verdict.reason)] += 1
        if verdict.reason is not None:
            kept = "" if verdict.reason == "forgotten" else verdict.text
            self.refusals.append(Refusal(self._now_ms(), kind, verdict.reason, verdict.detail, kept))
        return verdict

    def objections(self, text: str, kind: LineKind = "reply") -> list[Reason]:
        """What the guards have against a line by now that once passed: asked of what waits or is kept. Not counted."""
        found = (guard.objection(text, kind) for guard in self.guards)
        return [objection[0] for objection in found if objection is not None]

    def forget_refusals(self, latest: int) -> None:
        """Take the words of people who have left out of the latest refusals."""
        for at in range(max(0, len(self.refusals) - latest), len(self.refusals)):
            if "forgotten" in self.objections(self.refusals[at].text):
                self.refusals[at] = replace(self.refusals[at], text="")

    def check_prompt(self, words: str) -> Verdict:
        """Whether a viewer's words may condition the model. As `check`, but a short or repeated prompt is no fault."""
        words = visible(words)
        if _MARKUP.search(plain(words)):
            return Verdict(False, "", "markup", "looks like a special token or a role marker")
        return self._judge(words, "command")

    def remember(self, text: str) -> None:
        """This was said: not again for a while."""
        self._own.append(plainest(text))

    def _judge(self, line: str, kind: LineKind) -> Verdict:
        seen = " ".join(visible(plain_at(line[: LONGEST * 4])).split())
        text = _MENTION.sub("", seen)
        refused = self._form(text, kind) or self._content(seen, text) or self._memory(text, kind)
        if refused is not None:
            return Verdict(False, text, *refused)
        return Verdict(True, text)

    def _form(self, text: str, kind: LineKind) -> tuple[Reason, str] | None:
        """What the line looks like as a whole."""
        if not text or not any(unicodedata.category(character)[0] in "LNPS" for character in text):
            return "empty", "nothing visible"
        if len(text) > LONGEST or (not text.isascii() and len(unicodedata.normalize("NFKD", text)) > 2 * LONGEST):
            return "too_long", f"{len(text)} characters"  # one character may stand for eighteen
        first = text[0]
        if first in COMMAND_CHARACTERS or (
            first != "…" and unicodedata.normalize("NFKC", first)[:1] in COMMAND_CHARACTERS
        ):
            return "command", f"begins with {first}"
        lowered = text.casefold()
        for command in self._settings.bot_commands:
            if lowered.startswith(command.casefold()):
                return "command", "another bot's command"
        if kind != "reply":  # our own templates
            return None
        speaker = _SPEAKER.match(plain(text))
        if speaker and (speaker.group(1) or speaker.group(2)).casefold() not in _LABELS:
            return "impersonation", "begins as if somebody else spoke"
        if not self._settings.lone_emotes and self._is_lone_emote(text):
            return "lone_emote", ""
        return None

    def _content(self, seen: str, text: str) -> tuple[Reason, str] | None:
        """What the line says. `seen` still has its at signs, without which no e-mail address is one."""
        shape = shape_of(seen)
        if shape is not None:
            return shape, ""
        folded = fold(self._innocent_phrases.sub(" ", _WORD_MENTION.sub("", seen)))
        word = self._worst(text, folded)
        if word is not None and not (word.kind == "profanity" and self._settings.level == "relaxed"):
            return word.kind, word.letters
        for phrase in self._blocked_phrases:
            if phrase in folded.sentence:
                return "blocked", phrase.strip()
        topic = self._topics.find(folded.sentence)
        if topic is not None:
            return _TOPICS.get(topic, "topic"), topic
        return None

    def _worst(self, text: str, folded: Folded) -> Word | None:
        """The worst word that either the own list or the library finds."""
        own = self._words.find(folded)
        if own is not None and own.kind == "slur":
            return own
        for match in (*self._library.find(decomposed(text)), *self._library.find(folded.sentence)):
            for category in match.categories:
                kind = _KIND_OF[category.value]
                if own is None or SEVERITY[kind] < SEVERITY[own.kind]:
                    own = Word(match.term, kind)
        return own

    def _memory(self, text: str, kind: LineKind) -> tuple[Reason, str] | None:
        """What the line must not be because of what was said before."""
        if kind == "reply" and plainest(text) in self._own:
            return "repeat", "said a moment ago"
        for guard in self.guards:
            objection = guard.objection(text, kind)
            if objection is not None:
                return objection
        return None

    @staticmethod
    def _is_lone_emote(text: str) -> bool:
        words = text.split()
        if len(set(words)) != 1:
            return False
        word = words[0]
        return bool(_EMOTE.fullmatch(word)) or not any(character.isalnum() for character in word)


_TOPICS: dict[str, Reason] = {
    "age": "age", "threat": "threat", "self_harm": "self_harm", "sexual": "sexual", "hate": "hate", "drugs": "drugs",
}  # fmt: skip


def plain_at(text: str) -> str:
    """Full-width at signs and lookalikes of them, which some clients turn into a ping, as the plain one."""
    return text.replace("＠", "@").replace("﹫", "@") if not text.isascii() else text


def plainest(text: str) -> str:
    """What two lines have in common that say the same: letters and digits only."""
    return "".join(character for character in plain(text).casefold() if character.isalnum()) or text.strip()
