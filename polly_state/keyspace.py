"""The bounded local dict whose entries expire: what Redis is, in process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from polly_state.entries import FENCE, NO_STAMPS, TOMBSTONE, Entries, Entry, Kind
from polly_state.errors import CommandRejected

__all__ = ["Entry", "Keyspace", "Kind"]

PART_OVERHEAD: Final = 130

WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"


class Keyspace(Entries):
    """Entries by key, with a time to live, bounded in number and bytes.

    As an *authority* it is all there is: a key it does not hold does not exist, durable entries are never dropped,
    and a write over the bounds raises `LocalStoreFull`. As a *mirror* it remembers what was last seen of a larger
    whole: a key it does not hold is unknown, and only pinned entries are safe from being dropped.
    Ordinary entries are dropped least recently used first, and take none of the *spare_bytes*, which are for those that
    are not dropped. The clock is in seconds.
    """

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
        """The string at *key*; None if there is none. Raises `CommandRejected` at another kind."""
        entry = self.entry(key)
        if entry is None:
            return None
        if isinstance(entry.content, dict):
            _parts_of(entry, Kind.STRING)
            return None
        return entry.content

    def fields(self, key: str, kind: Kind = Kind.HASH) -> dict[str, bytes | None]:
        """The parts of what is at *key*, empty if there is nothing. Raises `CommandRejected` at another kind."""
        entry = self.entry(key)
        return {} if entry is None else _parts_of(entry, kind)

    def knows(self, key: str, part: str | None = None, kind: Kind = Kind.HASH) -> bool:
        """Whether a question about *key*, or one part of what would be of that *kind*, can be answered from here."""
        entry = self.entry(key)
        if entry is None:
            return not self.mirror
        if part is not None and isinstance(entry.content, dict) and part in entry.content:
            # What lacks a field may still be no set.
            return entry.kind is kind or entry.present
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
        entry = self.claim(key, len(content), stamps, durable=durable)
        entry.content = content
        entry.parts_size = 0
        entry.kind = Kind.STRING
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
        kind: Kind = Kind.HASH,
        durable: bool = False,
        whole: bool = False,
        stamps: Mapping[str, str] = NO_STAMPS,
    ) -> None:
        """Set parts, or drop those given as None, and keep the others.

        Args:
            key: It holds something of the *kind*, or nothing.
            changes: Names of parts and their new contents.
            kind: What has these parts.
            durable: Never drop the entry to make room.
            whole: *changes* is all there is at the key.
            stamps: Stamps to note with the write.

        Raises:
            LocalStoreFull: The bounds are reached.
            CommandRejected: There is something of another kind at the key.
        """
        entry = self.entry(key)
        partial = not whole and (self.mirror if entry is None else not entry.whole)
        absences = partial and kind.prefix is not None
        held = {} if whole or entry is None else _parts_of(entry, kind)
        size = entry.content_size if entry is not None and held else 0
        for name, content in changes.items():
            if name in held:
                size -= _part_size(name, held[name])
            if content is not None or absences:
                size += _part_size(name, content)
        entry = self.claim(key, size, stamps, durable=durable)
        for name, content in changes.items():
            if content is not None or absences:
                held[name] = content
            else:
                held.pop(name, None)
        entry.content = held or None
        entry.kind = kind
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

    def note(self, key: str, stamps: Mapping[str, str]) -> None:
        """Keep *stamps* with what is at *key* already."""
        entry = self.entry(key)
        if entry is not None:
            self.claim(key, entry.content_size, stamps, durable=False)

    def _bury(self, key: str, entry: Entry) -> None:
        # Only stamps are left, for as long as an older write may still arrive; they may be dropped sooner.
        entry.expires_at = self.now() + TOMBSTONE
        if not self.mirror:
            self.unpin(key)

    def _vacate(self, key: str, stamps: Mapping[str, str] = NO_STAMPS) -> Entry:
        entry = self.claim(key, 0, stamps, durable=False)
        entry.content = None
        entry.whole = True
        entry.expires_at = None
        return entry

    def _lapse(self, key: str) -> Entry | None:
        if self.mirror:
            return self._vacate(key)
        entry = self._pinned.get(key) or self._recent[key]
        if not entry.present or FENCE not in entry.stamps:
            self.forget(key)
            return None
        # The highest fence outlives the value, as it does beside a Redis' one.
        entry = self._vacate(key)
        self._bury(key, entry)
        return entry


def _parts_of(entry: Entry, kind: Kind) -> dict[str, bytes | None]:
    if entry.kind is kind and isinstance(entry.content, dict):
        return entry.content
    if entry.present:
        raise CommandRejected(WRONG_TYPE, code="WRONGTYPE")
    return {}


def _part_size(name: str, content: bytes | None) -> int:
    return len(name) + len(content or b"") + PART_OVERHEAD
