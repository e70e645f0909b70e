"""Entries: cached values with what has to be known of them, as text that redis-cli can show.

The first line of an entry is ``pc1``, its kind (``v`` a value, ``n`` None, ``V`` and ``N`` the same given again after
its loader failed), when it was loaded, expires and ends in milliseconds since the epoch, how many milliseconds the load
took, and the marks it was loaded under. The value follows as its codec writes it.
"""

from __future__ import annotations

from typing import Any, Final, Generic, NamedTuple, TypeVar

from polly_state.errors import CorruptValue
from polly_state.structures import Codec

__all__ = ["Entry", "EntryCodec"]

T = TypeVar("T")

MAGIC: Final = b"pc1"
PARTS: Final = 7
VALUE, NONE, VALUE_AGAIN, NONE_AGAIN = b"v", b"n", b"V", b"N"


class Entry(NamedTuple, Generic[T]):
    """A cached value; times are seconds since the epoch by Redis' clock."""

    value: T
    created: float
    """When it was known to be so."""
    expires: float
    """Until when it is fresh."""
    ends: float
    """Until when it may be given at all."""
    load_seconds: float
    """How long its load took; 0 for what was set."""
    failed: bool
    """Whether it is given again because its loader failed."""
    marks: bytes
    """The markers it was loaded under; it counts for as long as they are the same."""
    codec: int = 0
    """Which codec has made the value of it, for handles of other types on the same family."""


class EntryCodec(Generic[T]):
    """Entries of one declared type as bytes."""

    def __init__(self, declared: Any, max_bytes: int, number: int = 0) -> None:
        self._codec: Codec[T] = Codec(declared, max_bytes=max_bytes)
        self.number = number
        """What its entries bear."""

    def encode(self, entry: Entry[T]) -> bytes:
        """Raises `UnsupportedValue` if the value would not come back equal, or is too large."""
        nothing = entry.value is None
        payload = b"" if nothing else self._codec.encode(entry.value)
        kind = (NONE_AGAIN if entry.failed else NONE) if nothing else (VALUE_AGAIN if entry.failed else VALUE)
        times = b"%d %d %d %d" % (
            entry.created * 1000,
            entry.expires * 1000,
            entry.ends * 1000,
            entry.load_seconds * 1000,
        )
        return b"%b %b %b %b\n%b" % (MAGIC, kind, times, entry.marks, payload)

    def decode(self, content: bytes) -> Entry[T]:
        """Raises `CorruptValue` for what this codec cannot have written."""
        head, _, payload = content.partition(b"\n")
        try:
            magic, kind, created, expires, ends, load, marks = head.split(b" ", PARTS - 1)
            times = (int(created) / 1000, int(expires) / 1000, int(ends) / 1000, int(load) / 1000)
        except ValueError:
            # The cause would quote the entry.
            raise CorruptValue("what is stored is no entry of a cache; something else writes here") from None
        if magic != MAGIC:
            raise CorruptValue("what is stored is an entry of another version")
        if kind == VALUE:
            return tuple.__new__(Entry, (self._codec.decode(payload), *times, False, marks, self.number))
        if kind == VALUE_AGAIN:
            return Entry(self._codec.decode(payload), *times, failed=True, marks=marks, codec=self.number)
        if kind in (NONE, NONE_AGAIN) and not payload:
            again = kind == NONE_AGAIN
            return Entry(None, *times, failed=again, marks=marks, codec=self.number)  # type: ignore[arg-type]
        raise CorruptValue("what is stored is an entry of no known kind")
