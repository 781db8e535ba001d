"""When two lines say the same: the normalised text and its hash, by which copypasta is known. Pure."""

import hashlib


def normalised(text: str) -> str:
    """The text without what people vary when they paste: case, spacing, how often a word is repeated, invisible marks.

    Two messages with the same normalised text count as one for "unseen" validation.
    """
    if not text.isascii():
        text = text.replace("\U000e0000", "")
    words = text.casefold().split()
    if len(words) < 2:
        return words[0] if words else ""
    if len(set(words)) == len(words):
        return " ".join(words)
    kept = [words[0]]
    for word in words:
        if word != kept[-1]:
            kept.append(word)
    return " ".join(kept)


def text_key(text: str) -> int:
    """The signed 64-bit hash of the normalised text, as SQLite keeps integers."""
    digest = hashlib.blake2b(normalised(text).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
