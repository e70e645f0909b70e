"""Entries: what is known of keys, bounded in number and bytes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from polly_state.errors import LocalStoreFull

__all__ = ["FENCE", "NO_STAMPS", "TOMBSTONE", "Content", "Entries", "Entry", "Kind"]

#: Bytes that an entry and a stamp were found to take in memory, beside key and content.
ENTRY_OVERHEAD: Final = 400
STAMP_SIZE: Final = 200
STAMP_LENGTH: Final = 24
SWEEP_INTERVAL: Final = 1.0
SWEEP_STAMPS: Final = 128
TOMBSTONE: Final = 86_400.0
"""Seconds for which the stamps of what is gone are kept."""
FENCE: Final = "~fence"
"""The slot, beside the stamps, of the highest fence that a value was written with."""
NO_STAMPS: Final[Mapping[str, str]] = MappingProxyType({})

Content = bytes | dict[str, bytes | None] | None
"""A string, the parts of another kind, or nothing; a part of None is known to be absent from what is not whole."""


class Kind(Enum):
    """What an entry is, and before which names its parts have stamps of their own."""

    STRING = "string"
    HASH = "hash"
    SET = "set"
    """Members are parts without content."""
    LOG = "log"
    """Contents by stamp, oldest first."""
    QUEUE = "queue"
    """Contents by stamp, in the order of their arrival."""

    TIMES = "times"
    """Names, and a time in milliseconds for each."""

    #: What stands before the name of a part in its slot; None where a part has no name to be absent under.
    prefix: str | None

    def __init__(self, word: str) -> None:
        self.prefix = {"hash": "f:", "set": "e:"}.get(word)


class Entry:
    """What is known of one key."""

    __slots__ = ("content", "expires_at", "kind", "learned_at", "noted", "parts_size", "size", "whole")

    def __init__(self, content: Content, learned_at: float) -> None:
        self.content = content
        self.kind = Kind.STRING
        self.learned_at = learned_at
        self.expires_at: float | None = None
        self.noted: dict[str, str] | None = None
        """The `stamps`, if there are any: most have none, and there are many of them."""
        self.whole = True
        self.parts_size = 0
        self.size = 0

    @property
    def present(self) -> bool:
        """Whether there is something at the key, and not only known absences."""
        if self.whole or not isinstance(self.content, dict):
            return self.content is not None
        # What has gone was mostly put before what is there.
        return any(content is not None for content in reversed(self.content.values()))

    @property
    def content_size(self) -> int:
        """Bytes of what is at the key, as they are counted."""
        return len(self.content) if isinstance(self.content, bytes) else self.parts_size

    @property
    def stamps(self) -> Mapping[str, str]:
        """The stamps of its writes, by slot."""
        return NO_STAMPS if self.noted is None else self.noted

    def stamp(self, stamps: Mapping[str, str]) -> None:
        """Note *stamps* by slot."""
        if self.noted is not None:
            self.noted.update(stamps)
        elif stamps:
            self.noted = dict(stamps)

    def unstamp(self, slot: str) -> None:
        """Have no stamp for this slot."""
        if self.noted is not None:
            self.noted.pop(slot, None)

    def copy(self) -> Entry:
        """The same, apart from this one."""
        twin = Entry(dict(self.content) if isinstance(self.content, dict) else self.content, self.learned_at)
        for slot in ("expires_at", "kind", "parts_size", "size", "whole"):
            setattr(twin, slot, getattr(self, slot))
        twin.stamp(self.stamps)
        return twin


class Entries:
    """Entries by key. Pinned ones stay; the others are dropped, least recently used first, when room is needed."""

    def __init__(
        self,
        *,
        max_entries: int = 100_000,
        max_bytes: int = 64 * 1024 * 1024,
        spare_bytes: int = 0,
        mirror: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.now = clock
        self.mirror = mirror
        self.size = 0
        self._pinned_size = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._common_bytes = max_bytes - spare_bytes
        self._recent: OrderedDict[str, Entry] = OrderedDict()
        self._pinned: dict[str, Entry] = {}
        self._swept_at = float("-inf")

    def __len__(self) -> int:
        return len(self._recent) + len(self._pinned)

    def __iter__(self) -> Iterator[str]:
        yield from self._recent
        yield from self._pinned

    def claim(self, key: str, content_size: int, stamps: Mapping[str, str], *, durable: bool) -> Entry:
        """The entry of *key*, made if need be, with room for new content and with *stamps* noted.

        Raises `LocalStoreFull` if there is no room, also after dropping what may be dropped; then nothing is.
        """
        entry = self._recent.get(key) or self._pinned.get(key)
        held = NO_STAMPS if entry is None else entry.stamps
        count = len(held) + sum(slot not in held for slot in stamps)
        due = count // SWEEP_STAMPS > len(held) // SWEEP_STAMPS
        size = ENTRY_OVERHEAD + len(key) + content_size + count * STAMP_SIZE
        growth = size if entry is None else size - entry.size
        if growth > 0:
            self._make_room(key, growth, new=entry is None)
        if entry is None:
            entry = self._recent[key] = Entry(None, self.now())
        if not entry.present:
            entry.expires_at = None
        if key in self._pinned:
            self._pinned_size += growth
        self.size += growth
        entry.size, entry.parts_size = size, content_size
        entry.learned_at = self.now()
        entry.stamp(stamps)
        if due:
            self._drop_old_stamps(entry, max(filter(_is_stamp, stamps.values()), default=""))
        if durable and not self.mirror:
            self.pin(key)
        return entry

    def forget(self, key: str) -> None:
        """Hold nothing of *key*, not even that it is absent."""
        self.unpin(key)
        entry = self._recent.pop(key, None)
        if entry is not None:
            self.size -= entry.size

    def restore(self, key: str, held: Entry | None) -> None:
        """Hold of *key* what was *held* before, and nothing if that is None."""
        pinned = key in self._pinned
        self.forget(key)
        if held is not None:
            self._recent[key] = held
            self.size += held.size
            if pinned:
                self.pin(key)

    def clear(self) -> None:
        """Hold nothing of any key."""
        self._recent.clear()
        self._pinned.clear()
        self.size = self._pinned_size = 0

    def pin(self, key: str) -> None:
        """Keep the entry from being dropped to make room."""
        entry = self._recent.pop(key, None)
        if entry is not None:
            self._pinned[key] = entry
            self._pinned_size += entry.size

    def unpin(self, key: str) -> None:
        """Let the entry be dropped again when room is needed."""
        entry = self._pinned.pop(key, None)
        if entry is not None:
            self._recent[key] = entry
            self._pinned_size -= entry.size

    def unpin_all(self) -> None:
        """Let any entry be dropped again when room is needed."""
        self._recent |= self._pinned
        self._pinned.clear()
        self._pinned_size = 0

    def _drop_old_stamps(self, entry: Entry, newest: str) -> None:
        if not newest:
            # Totals of a counter are kept, for as long as it is.
            return
        prefix, parts = entry.kind.prefix, entry.content if isinstance(entry.content, dict) else ()
        held = set[str]() if prefix is None else {prefix + part for part in parts}
        oldest = f"{int(newest[:12], 16) - int(TOMBSTONE * 1000):012x}"
        entry.noted = {
            slot: each for slot, each in entry.stamps.items() if slot in held or each >= oldest or not _is_stamp(each)
        }

    def _make_room(self, key: str, growth: int, *, new: bool) -> None:
        if self._fits(growth, new=new):
            return
        self._drop_lapsed()
        own = self._recent.get(key)
        kept_entries = len(self._pinned) + (new or own is not None)
        kept_size = self._pinned_size + (0 if own is None else own.size)
        if kept_entries > self._max_entries or kept_size + growth > self._max_bytes:
            raise LocalStoreFull("the local store is at its bounds; raise local_entries or local_bytes, or delete some")
        if own is not None:
            self._recent.move_to_end(key)
        while len(self._recent) > (own is not None) and not self._fits(growth, new=new):
            self.size -= self._recent.popitem(last=False)[1].size

    def _fits(self, growth: int, *, new: bool) -> bool:
        return len(self) + new <= self._max_entries and self.size + growth <= self._common_bytes

    def _drop_lapsed(self) -> None:
        now = self.now()
        if now < self._swept_at + SWEEP_INTERVAL:
            return
        self._swept_at = now
        ends = ((key, entry.expires_at) for key, entry in self._pinned.items())
        for key in [key for key, end in ends if end is not None and end <= now]:
            self.forget(key)


def _is_stamp(text: str) -> bool:
    return len(text) == STAMP_LENGTH
