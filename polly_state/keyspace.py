"""The bounded local dict whose entries expire: what Redis is, in process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from polly_state.entries import NO_STAMPS, TOMBSTONE, Entries, Entry
from polly_state.errors import CommandRejected

__all__ = ["Entry", "Keyspace"]

FIELD_OVERHEAD: Final = 100

WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"


class Keyspace(Entries):
    """Entries by key, with a time to live, bounded in number and bytes.

    As an *authority* it is all there is: a key it does not hold does not exist, durable entries are never dropped,
    and a write over the bounds raises `LocalStoreFull`. As a *mirror* it remembers what was last seen of a larger
    whole: a key it does not hold is unknown, and only pinned entries are safe from being dropped.
    Ordinary entries are dropped least recently used first. The clock is in seconds.
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
        entry = self.claim(key, len(content), stamps, durable=durable)
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
        entry = self.claim(key, size, stamps, durable=durable)
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
        self.forget(key)
        return None


def _field_size(field: str, content: bytes | None) -> int:
    return 0 if content is None else len(field) + len(content) + FIELD_OVERHEAD


def _held_size(held: Mapping[str, bytes | None], field: str) -> int:
    return _field_size(field, held.get(field))
