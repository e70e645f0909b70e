"""Known: what this process knows of the markers without asking, for as long as Redis would tell of a change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polly_state.cache.reading import Reading

if TYPE_CHECKING:
    from polly_state.near import Near

__all__ = ["Known", "Proofs"]

#: A proof that nothing bears.
NOTHINGS: Final = 1


class Proofs:
    """Numbers that near entries of one codec bear who have been found to count; others once that may have changed.

    So of all there is to be looked at, such as marks and tags, a hit compares but one number.
    """

    __slots__ = ("near", "tagged", "untagged")

    def __init__(self, near: Near | None = None) -> None:
        self.near = near
        self.untagged = self.tagged = NOTHINGS


class Known:
    """What was read of the markers of all families last, until one of them has changed."""

    def __init__(self, prefix: str, families: str) -> None:
        self.reading: Reading | None = None
        """It counts while it is `told`."""
        self.in_order = True
        """Whether it is no older than what is read after it, of keys that another server may have."""
        self._prefix = prefix
        self._families = families
        self._near: Near | None = None
        self._proofs: dict[int, Proofs] = {}
        self._last = NOTHINGS

    def attend(self, near: Near) -> None:
        """Hear from *near* what has changed."""
        self._near, self.in_order = near, near.in_order
        for proofs in self._proofs.values():
            proofs.near = near
        near.attend(self._prefix, self._changed)

    def proofs(self, codec: int) -> Proofs:
        """Those of the codec with this number, for all who use it."""
        held = self._proofs.get(codec)
        if held is None:
            held = self._proofs[codec] = Proofs(self._near)
            if self.reading is not None:
                held.untagged, held.tagged = self._next(), self._next()
        return held

    def told(self) -> Reading | None:
        """What is known, if Redis would have told of a change to it; if not, that is forgotten.

        After an answer to a read it is no older than the answer: what Redis tells comes over the same connection, and
        before the answer, unless it happened after the read was sent.
        """
        near, reading = self._near, self.reading
        if near is not None and reading is not None and near.vouches(reading.until):
            return reading
        self._forget()
        return None

    def know(self, reading: Reading, until: float | None) -> None:
        """It was read, and counts *until* then at most; None if it does no longer."""
        if until is None:
            return
        reading.until, self.reading = until, reading
        for proofs in self._proofs.values():
            proofs.untagged, proofs.tagged = self._next(), self._next()

    def _changed(self, key: str | None) -> None:
        if key is None or key == self._families:
            self._forget()
        elif self.reading is not None:
            for proofs in self._proofs.values():
                proofs.tagged = self._next()

    def _forget(self) -> None:
        self.reading = None
        for proofs in self._proofs.values():
            proofs.untagged = proofs.tagged = NOTHINGS

    def _next(self) -> int:
        self._last += 1
        return self._last
