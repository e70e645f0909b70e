"""Wakes: who waits for something to come at a key, and is woken instead of asking again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

__all__ = ["Wakes"]


class Wakes:
    """Events by key. To be woken means to look: something may have come, also while nobody could tell."""

    def __init__(self) -> None:
        self.on_first: Callable[[str], None] | None = None
        """Told of a key that nobody has waited for until now."""
        self.on_last: Callable[[str], None] | None = None
        """Told of a key that nobody waits for any more."""
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def keys(self) -> list[str]:
        """What is waited for."""
        return list(self._waiting)

    @contextmanager
    def listening(self, key: str) -> Generator[asyncio.Event]:
        """An event that is set whenever something may have come at *key*, for the length of the block."""
        event = asyncio.Event()
        events = self._waiting.setdefault(key, set())
        events.add(event)
        if len(events) == 1 and self.on_first is not None:
            self.on_first(key)
        try:
            yield event
        finally:
            events.discard(event)
            if not events and self._waiting.pop(key, None) is not None and self.on_last is not None:
                self.on_last(key)

    def wake(self, key: str) -> None:
        """Let those look who wait for *key*."""
        for event in self._waiting.get(key, ()):
            event.set()

    def wake_all(self) -> None:
        """Let everybody look."""
        for key in self._waiting:
            self.wake(key)
