"""Speaker slots: who speaks, told by how recently they spoke and not by name.

The model learns who answers whom without learning who anyone is. The same window turns a slot back into a name
when the companion speaks.
"""

from collections.abc import Hashable

SPEAKER_SLOTS = 8


class SpeakerWindow:
    """The speakers of one conversation, most recent first.

    `turn(speaker)` gives the slot of the one who speaks now and moves them to the front: 0 spoke the last line too,
    1 the one before them, …; SPEAKER_SLOTS - 1 stands for everyone who is new or has long been silent.
    """

    def __init__(self) -> None:
        self._recent: list[Hashable] = []

    def turn(self, speaker: Hashable) -> int:
        slot = self.slot(speaker)
        if speaker in self._recent:
            self._recent.remove(speaker)
        self._recent.insert(0, speaker)
        del self._recent[SPEAKER_SLOTS - 1 :]
        return SPEAKER_SLOTS - 1 if slot is None else slot

    def slot(self, speaker: Hashable) -> int | None:
        """The slot of somebody mentioned, or None when they are not in the window."""
        return self._recent.index(speaker) if speaker in self._recent else None

    def speaker(self, slot: int) -> Hashable | None:
        """Who holds a slot now, or None when nobody does."""
        return self._recent[slot] if 0 <= slot < len(self._recent) else None
