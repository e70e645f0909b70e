"""The bounded local dict whose entries expire: what Redis is, in process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from polly_state.errors import CommandRejected, LocalStoreFull

__all__ = ["Content", "Entry", "Keyspace"]

ENTRY_OVERHEAD: Final = 200
FIELD_OVERHEAD: Final = 100
SWEEP_INTERVAL: Final = 1.0
TOMBSTONE: Final = 86_400.0
STAMP_SIZE: Final = 120
SWEEP_STAMPS: Final = 128

WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"

Content = bytes | dict[str, bytes | None] | None
"""A string, a hash, or nothing; a field of None is known to be absent from a hash that is not whole."""


class Entry:
    """What is known of one key."""

    __slots__ = ("content", "expires_at", "learned_at", "size", "stamps", "whole")

    def __init__(self, content: Content, learned_at: float) -> None:
        self.content = content
        self.learned_at = learned_at
        self.expires_at: float | None = None
        self.stamps: dict[str, str] = {}
        self.whole = True
        self.size = 0


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

    def put(self, key: str, content: bytes, *, expires_at: float | None = None, durable: bool = False) -> Entry:
        """Hold a string, whatever was there. Raises `LocalStoreFull` over the bounds."""
        size = ENTRY_OVERHEAD + len(key) + len(content)
        entry = self._claim(key, size, durable=durable)
        entry.content = content
        entry.whole = True
        entry.expires_at = expires_at
        entry.learned_at = self.now()
        return entry

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
    ) -> Entry:
        """Set fields, or drop those given as None, and keep the others.

        Args:
            key: A hash, or a key that holds nothing.
            changes: Fields and their new contents.
            durable: Never drop the entry to make room.
            whole: *changes* is all there is at the key.

        Raises:
            LocalStoreFull: The bounds are reached.
            CommandRejected: There is a string at the key.
        """
        entry = self.entry(key)
        partial = not whole and (self.mirror if entry is None else not entry.whole)
        held = {} if whole or entry is None or entry.content is None else entry.content
        if not isinstance(held, dict):
            raise CommandRejected(WRONG_TYPE, code="WRONGTYPE")
        size = ENTRY_OVERHEAD + len(key) if entry is None or not held else entry.size
        size += sum(_field_size(field, content) - _held_size(held, field) for field, content in changes.items())
        entry = self._claim(key, size, durable=durable)
        for field, content in changes.items():
            if content is not None or partial:
                held[field] = content
            else:
                held.pop(field, None)
        entry.content = held or None
        entry.whole = not partial
        entry.learned_at = self.now()
        if not held:
            self._bury(key, entry)
        return entry

    def remove(self, key: str, *, stamp: str | None = None, slot: str = "") -> bool:
        """Let go of what is at *key*; False if there was nothing.

        With a *stamp* a tombstone stays for a day, so that a write with an older one comes too late.
        """
        entry = self.entry(key)
        existed = entry is not None and entry.content is not None
        if stamp is not None:
            entry = self._vacate(key)
            entry.stamps = {slot: stamp}
            self._bury(key, entry)
        elif self.mirror or (entry is not None and entry.stamps):
            self._bury(key, self._vacate(key))
        elif entry is not None:
            self.forget(key)
        return existed

    def mark(self, key: str, slots: Iterable[str], stamp: str) -> None:
        """Note the stamp of a write to parts of *key*."""
        entry = self.entry(key)
        if entry is None:
            return
        before = len(entry.stamps)
        entry.stamps.update(dict.fromkeys(slots, stamp))
        if len(entry.stamps) // SWEEP_STAMPS > before // SWEEP_STAMPS:
            self._drop_old_stamps(entry, stamp)
        growth = (len(entry.stamps) - before) * STAMP_SIZE
        entry.size += growth
        self.size += growth

    def expires_at(self, key: str) -> float | None:
        """When what is at *key* ends; None for never, or if there is nothing."""
        entry = self.entry(key)
        return None if entry is None or entry.content is None else entry.expires_at

    def expire(self, key: str, expires_at: float | None) -> bool:
        """Set when *key* ends, None for never; False if there is nothing."""
        entry = self.entry(key)
        if entry is None or entry.content is None:
            return False
        entry.expires_at = expires_at
        return True

    def forget(self, key: str) -> None:
        """Hold nothing of *key*, not even that it is absent."""
        entry = self._recent.pop(key, None) or self._pinned.pop(key, None)
        if entry is not None:
            self.size -= entry.size

    def pin(self, key: str) -> None:
        """Keep the entry from being dropped to make room."""
        entry = self._recent.pop(key, None)
        if entry is not None:
            self._pinned[key] = entry

    def unpin(self, key: str) -> None:
        """Let the entry be dropped again when room is needed."""
        entry = self._pinned.pop(key, None)
        if entry is not None:
            self._recent[key] = entry

    def _bury(self, key: str, entry: Entry) -> None:
        # Only stamps are left, for as long as an older write may still arrive; they may be dropped sooner.
        entry.expires_at = self.now() + TOMBSTONE
        if not self.mirror:
            self.unpin(key)

    def _vacate(self, key: str) -> Entry:
        entry = self._claim(key, ENTRY_OVERHEAD + len(key), durable=False)
        entry.content = None
        entry.whole = True
        entry.expires_at = None
        entry.learned_at = self.now()
        return entry

    def _lapse(self, key: str) -> Entry | None:
        if self.mirror:
            return self._vacate(key)
        self.forget(key)
        return None

    def _drop_old_stamps(self, entry: Entry, stamp: str) -> None:
        held = entry.content if isinstance(entry.content, dict) else {}
        oldest = f"{int(stamp[:12], 16) - int(TOMBSTONE * 1000):012x}"
        entry.stamps = {slot: each for slot, each in entry.stamps.items() if slot in held or each >= oldest}

    def _claim(self, key: str, size: int, *, durable: bool) -> Entry:
        entry = self._recent.get(key) or self._pinned.get(key)
        durable = durable and not self.mirror
        growth = size if entry is None else size - entry.size
        if growth > 0 and not self._make_room(key, growth, new=entry is None):
            raise LocalStoreFull("the local store is at its bounds; raise local_entries or local_bytes, or delete some")
        if entry is None:
            entry = Entry(None, self.now())
            (self._pinned if durable else self._recent)[key] = entry
        else:
            if durable:
                self.pin(key)
            if entry.content is None:
                entry.expires_at = None
        entry.size = size
        self.size += growth
        return entry

    def _make_room(self, key: str, growth: int, *, new: bool) -> bool:
        if self._fits(growth, new=new):
            return True
        if growth > self._max_bytes:
            return False
        self._drop_lapsed()
        while not self._fits(growth, new=new) and self._recent:
            oldest = next(iter(self._recent))
            if oldest == key:
                if len(self._recent) == 1:
                    break
                self._recent.move_to_end(oldest)
                continue
            self.size -= self._recent.pop(oldest).size
        return self._fits(growth, new=new)

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
