"""Who is never stored or learned from: the viewers' own words for it, and the salted hash that remembers them."""

import hashlib
import re
from typing import Literal

ConsentCommand = Literal["optout", "optin", "forgetme"]

_COMMAND = re.compile(r"^!(optout|optin|forgetme)\b", re.IGNORECASE)


def consent_command(text: str) -> ConsentCommand | None:
    """What a viewer asks for in chat: `!optout`, `!optin`, `!forgetme`; None for any other line."""
    found = _COMMAND.match(text.strip().strip("\U000e0000").strip())
    if not found:
        return None
    word = found.group(1).lower()
    return "optout" if word == "optout" else "optin" if word == "optin" else "forgetme"


def identity_hash(salt: bytes, *identity: str) -> bytes:
    """What stays of somebody who is to be forgotten: enough to know them again, too little to name them.

    The salt is random and never leaves the database, so the hashes of two corpora cannot be compared and a list of
    logins cannot be tried against a leaked hash alone.
    """
    return hashlib.blake2b("\0".join(identity).encode(), key=salt, digest_size=16).digest()
