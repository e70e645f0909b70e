"""Entries: cached values with what has to be known of them, as text that redis-cli can show.

The first line of an entry is ``pc1``, its kind (``v`` a value, ``n`` None, ``V`` and ``N`` the same given again after
its loader failed), when it was loaded, expires and ends in milliseconds since the epoch, how many milliseconds the load
took, and the marks it was loaded under. The value follows as its codec writes it.
"""

from __future__ import annotations

from typing import Any, Final, Generic, NamedTuple, TypeVar

from polly_state.cache.dictionaries import Dictionary
from polly_state.errors import CorruptValue
from polly_state.structures import Codec

__all__ = ["Entry", "EntryCodec"]

T = TypeVar("T")
U = TypeVar("U")

MAGIC: Final = b"pc1"
PARTS: Final = 7
#: Of two times in milliseconds; with more they would be no time that a clock can show.
MAX_DIGITS: Final = 30
VALUE, NONE, VALUE_AGAIN, NONE_AGAIN = b"v", b"n", b"V", b"N"


class Entry(NamedTuple, Generic[T]):
    """A cached value; times are seconds since the epoch by Redis' clock."""

    value: T
    expires: float
    """Until when it is fresh."""
    load_seconds: float
    """How long its load took; 0 for what was set."""
    failed: bool
    """Whether it is given again because its loader failed."""
    marks: bytes
    """The markers it was loaded under; it counts for as long as they are the same."""
    created_ms: float | bytes
    """See `created`; in milliseconds, as a number or as it is written, since few ask for it."""
    ends_ms: float | bytes
    """See `ends`; the same."""
    codec: int = 0
    """Which codec has made the value of it, for handles of other types on the same family."""

    def apart(self, marks: bytes) -> Entry[None]:
        """All of it but the value; of *marks* that are the same, these."""
        _, expires, load_seconds, failed, own, created_ms, ends_ms, codec = self
        own = marks if marks == own else own
        return tuple.__new__(Entry, (None, expires, load_seconds, failed, own, created_ms, ends_ms, codec))

    def around(self, value: U) -> Entry[U]:
        """The same of a *value*."""
        return tuple.__new__(Entry, (value, *self[1:]))

    @property
    def created(self) -> float:
        """When it was known to be so."""
        return float(self.created_ms) / 1000

    @property
    def ends(self) -> float:
        """Until when it may be given at all."""
        return float(self.ends_ms) / 1000


class EntryCodec(Generic[T]):
    """Entries of one declared type as bytes."""

    def __init__(self, declared: Any, max_bytes: int, number: int = 0, dictionary: Dictionary | None = None) -> None:
        self._codec: Codec[T] = Codec(declared, max_bytes=max_bytes)
        self._value = self._codec.decode if dictionary is None else self._unpacked
        self._dictionary = dictionary
        self.number = number
        """What its entries bear."""

    def encode(self, entry: Entry[T]) -> bytes:
        """Raises `UnsupportedValue` if the value would not come back equal, or is too large."""
        nothing = entry.value is None
        payload = b"" if nothing else self._codec.encode(entry.value)
        if self._dictionary is not None:
            payload = self._dictionary.pack(payload)
        kind = (NONE_AGAIN if entry.failed else NONE) if nothing else (VALUE_AGAIN if entry.failed else VALUE)
        times = b"%d %d %d %d" % (
            float(entry.created_ms),
            entry.expires * 1000,
            float(entry.ends_ms),
            entry.load_seconds * 1000,
        )
        return b"%b %b %b %b\n%b" % (MAGIC, kind, times, entry.marks, payload)

    def decode(self, content: bytes) -> Entry[T]:
        """Raises `CorruptValue` for what this codec cannot have written."""
        head, _, payload = content.partition(b"\n")
        try:
            magic, kind, created, expires, ends, load, marks = head.split(b" ", PARTS - 1)
            fresh_until, taken = int(expires) / 1000, int(load) / 1000
        except (ValueError, OverflowError):
            # The cause would quote the entry.
            raise CorruptValue("what is stored is no entry of a cache; something else writes here") from None
        if magic != MAGIC:
            raise CorruptValue("what is stored is an entry of another version")
        if not created.isdigit() or not ends.isdigit() or len(created) + len(ends) > MAX_DIGITS:
            raise CorruptValue("what is stored is no entry of a cache; something else writes here")
        # Most are of the first kind: the others are not compared with one by one.
        if kind == VALUE:
            value, failed = self._value(payload), False
        elif kind == VALUE_AGAIN:
            value, failed = self._value(payload), True
        elif kind in (NONE, NONE_AGAIN) and not payload:
            value, failed = None, kind == NONE_AGAIN
        else:
            raise CorruptValue("what is stored is an entry of no known kind")
        # Made without the detour over a NamedTuple's own way.
        return tuple.__new__(Entry, (value, fresh_until, taken, failed, marks, created, ends, self.number))

    def _unpacked(self, payload: bytes) -> T:
        assert self._dictionary is not None  # noqa: S101
        return self._codec.decode(self._dictionary.unpack(payload))
