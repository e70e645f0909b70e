"""The bounded local dict whose entries expire: what Redis is, in process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from polly_state.errors import CommandRejected, LocalStoreFull

__all__ = ["Content", "Entry", "Keyspace"]

ENTRY_OVERHEAD: Final = 200
FIELD_OVERHEAD: Final = 100
SWEEP_INTERVAL: Final = 1.0
TOMBSTONE: Final = 86_400.0
STAMP_SIZE: Final = 120
SWEEP_STAMPS: Final = 128
NO_STAMPS: Final[Mapping[str, str]] = MappingProxyType({})

WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"

Content = bytes | dict[str, bytes | None] | None
"""A string, a hash, or nothing; a field of None is known to be absent from a hash that is not whole."""


class Entry:
    """What is known of one key."""

    __slots__ = ("content", "content_size", "expires_at", "learned_at", "size", "stamps", "whole")

    def __init__(self, content: Content, learned_at: float) -> None:
        self.content = content
        self.learned_at = learned_at
        self.expires_at: float | None = None
        self.stamps: dict[str, str] = {}
        self.whole = True
        self.content_size = 0
        self.size = 0

    @property
    def present(self) -> bool:
        """Whether there is something at the key, and not only known absences."""
        if self.whole or not isinstance(self.content, dict):
            return self.content is not None
        return any(content is not None for content in self.content.values())


class Keyspace:
    """Entries by key, with a time to live, bounded in number and bytes.

    As an *authority* it is all there is: a key it does not hold does not exist, durable entries are never dropped,
    and a write over the bounds raises `LocalStoreFull`. As a *mirror* it remembers what was last seen of a larger
    whole: a key it does not hold is unknown, and only pinned entries are safe from being dropped.
    Ordinary entries are dropped least recently used first. The clock is in seconds.
    """

    def __init__(
        self,
        *,
        max_entries: int = 100_000,
        max_bytes: int = 64 * 1024 * 1024,
        mirror: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.now = clock
        self.mirror = mirror
        self.size = 0
        self._pinned_size = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._recent: OrderedDict[str, Entry] = OrderedDict()
        self._pinned: dict[str, Entry] = {}
        self._swept_at = float("-inf")

    def __len__(self) -> int:
        return len(self._recent) + len(self._pinned)

    def __iter__(self) -> Iterator[str]:
        yield from self._recent
        yield from self._pinned

    def entry(self, key: str) -> Entry | None:
        """The entry, if the key is held; what has expired is gone, or in a mirror known to be absent."""
        entry = self._recent.get(key)
        if entry is None:
            entry = self._pinned.get(key)
            if entry is None:
                return None
        else:
            self._recent.move_to_end(key)
        if entry.expires_at is not None and entry.expires_at <= self.now():
            return self._lapse(key)
        return entry

    def string(self, key: str) -> bytes | None:
        """The string at *key*; None if there is none. Raises `CommandRejected` at a hash."""
        entry = self.entry(key)
        if entry is None or entry.content is None:
            return None
        if isinstance(entry.content, bytes):
            return entry.content
        raise CommandRejected(WRONG_TYPE, code="WRONGTYPE")

    def fields(self, key: str) -> Mapping[str, bytes | None]:
        """The fields at *key*, empty if there are none. Raises `CommandRejected` at a string."""
        entry = self.entry(key)
        if entry is None or entry.content is None:
            return {}
        if isinstance(entry.content, dict):
            return entry.content
        raise CommandRejected(WRONG_TYPE, code="WRONGTYPE")

    def knows(self, key: str, field: str | None = None) -> bool:
        """Whether a question about *key*, or one field of it, can be answered from here."""
        entry = self.entry(key)
        if entry is None:
            return not self.mirror
        if field is not None and isinstance(entry.content, dict) and field in entry.content:
            return True
        return entry.whole

    def put(
        self,
        key: str,
        content: bytes,
        *,
        expires_at: float | None = None,
        durable: bool = False,
        stamps: Mapping[str, str] = NO_STAMPS,
    ) -> None:
        """Hold a string, whatever was there. Raises `LocalStoreFull` over the bounds."""
        entry = self._claim(key, len(content), stamps, durable=durable)
        entry.content = content
        entry.whole = True
        entry.expires_at = expires_at

    def remember(self, key: str, content: bytes | None) -> None:
        """Take in what was read elsewhere: a string, or that there is none."""
        entry = self._recent.get(key)
        if entry is not None and entry.content == content and entry.expires_at is None:
            entry.learned_at = self.now()
            self._recent.move_to_end(key)
        elif content is None:
            self.remove(key)
        else:
            self.put(key, content)

    def patch(
        self,
        key: str,
        changes: Mapping[str, bytes | None],
        *,
        durable: bool = False,
        whole: bool = False,
        stamps: Mapping[str, str] = NO_STAMPS,
    ) -> None:
        """Set fields, or drop those given as None, and keep the others.

        Args:
            key: A hash, or a key that holds nothing.
            changes: Fields and their new contents.
            durable: Never drop the entry to make room.
            whole: *changes* is all there is at the key.
            stamps: Stamps to note with the write.

        Raises:
            LocalStoreFull: The bounds are reached.
            CommandRejected: There is a string at the key.
        """
        entry = self.entry(key)
        partial = not whole and (self.mirror if entry is None else not entry.whole)
        held = {} if whole or entry is None or entry.content is None else entry.content
        if not isinstance(held, dict):
            raise CommandRejected(WRONG_TYPE, code="WRONGTYPE")
        size = entry.content_size if entry is not None and held else 0
        size += sum(_field_size(field, content) - _held_size(held, field) for field, content in changes.items())
        entry = self._claim(key, size, stamps, durable=durable)
        for field, content in changes.items():
            if content is not None or partial:
                held[field] = content
            else:
                held.pop(field, None)
        entry.content = held or None
        entry.whole = not partial
        if not held:
            self._bury(key, entry)

    def remove(self, key: str, *, slot: str = "", stamp: str | None = None) -> bool:
        """Let go of what is at *key*; False if there was nothing.

        With a *stamp* for a *slot* a tombstone stays for a day, so that a write with an older one comes too late.
        """
        entry = self.entry(key)
        existed = entry is not None and entry.content is not None
        stamps = NO_STAMPS if stamp is None else {slot: stamp}
        if self.mirror or stamps or (entry is not None and entry.stamps):
            self._bury(key, self._vacate(key, stamps))
        elif entry is not None:
            self.forget(key)
        return existed

    def expires_at(self, key: str) -> float | None:
        """When what is at *key* ends; None for never, or if there is nothing."""
        entry = self.entry(key)
        return entry.expires_at if entry is not None and entry.present else None

    def expire(self, key: str, expires_at: float | None) -> bool:
        """Set when *key* ends, None for never; False if there is nothing."""
        entry = self.entry(key)
        if entry is None or not entry.present:
            return False
        entry.expires_at = expires_at
        return True

    def forget(self, key: str) -> None:
        """Hold nothing of *key*, not even that it is absent."""
        self.unpin(key)
        entry = self._recent.pop(key, None)
        if entry is not None:
            self.size -= entry.size

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

    def _bury(self, key: str, entry: Entry) -> None:
        # Only stamps are left, for as long as an older write may still arrive; they may be dropped sooner.
        entry.expires_at = self.now() + TOMBSTONE
        if not self.mirror:
            self.unpin(key)

    def _vacate(self, key: str, stamps: Mapping[str, str] = NO_STAMPS) -> Entry:
        entry = self._claim(key, 0, stamps, durable=False)
        entry.content = None
        entry.whole = True
        entry.expires_at = None
        return entry

    def _lapse(self, key: str) -> Entry | None:
        if self.mirror:
            return self._vacate(key)
        self.forget(key)
        return None

    def _claim(self, key: str, content_size: int, stamps: Mapping[str, str], *, durable: bool) -> Entry:
        """The entry of *key*, with room for new content and with the stamps noted."""
        entry = self._recent.get(key) or self._pinned.get(key)
        held = NO_STAMPS if entry is None else entry.stamps
        count = len(held) + sum(slot not in held for slot in stamps)
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
        entry.size, entry.content_size = size, content_size
        entry.learned_at = self.now()
        entry.stamps.update(stamps)
        if stamps and count // SWEEP_STAMPS > len(held) // SWEEP_STAMPS:
            self._drop_old_stamps(entry, max(stamps.values()))
        if durable and not self.mirror:
            self.pin(key)
        return entry

    def _drop_old_stamps(self, entry: Entry, newest: str) -> None:
        held = {f"f:{field}" for field in entry.content} if isinstance(entry.content, dict) else set[str]()
        oldest = f"{int(newest[:12], 16) - int(TOMBSTONE * 1000):012x}"
        entry.stamps = {slot: each for slot, each in entry.stamps.items() if slot in held or each >= oldest}

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
        while not self._fits(growth, new=new):
            self.size -= self._recent.popitem(last=False)[1].size

    def _fits(self, growth: int, *, new: bool) -> bool:
        return len(self) + new <= self._max_entries and self.size + growth <= self._max_bytes

    def _drop_lapsed(self) -> None:
        now = self.now()
        if now < self._swept_at + SWEEP_INTERVAL:
            return
        self._swept_at = now
        lapsed = [
            key for key, entry in self._pinned.items() if entry.expires_at is not None and entry.expires_at <= now
        ]
        for key in lapsed:
            self.forget(key)


def _field_size(field: str, content: bytes | None) -> int:
    return 0 if content is None else len(field) + len(content) + FIELD_OVERHEAD


def _held_size(held: Mapping[str, bytes | None], field: str) -> int:
    return _field_size(field, held.get(field))
