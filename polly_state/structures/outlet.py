"""The outlet: what one listener has still to hear, within bounds."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, NamedTuple

from polly_state.store.channels import CLOSED, Listener

__all__ = ["Gap", "Outlet"]

MAX_BYTES: Final = 8 * 1024 * 1024
#: Where a stamp, which stands before each message, tells whose it is.
ORIGIN: Final = slice(16, 24)


class Gap(NamedTuple):
    """Messages are missing here: whoever has a state of their own reads it anew."""

    missed: int | None
    """How many were dropped because their listener was too slow; None if nobody knows, since Redis was away."""


class Outlet(Listener):
    """Keeps messages until they are taken; when there are too many, the oldest go, and a `Gap` stands for them."""

    def __init__(self, origin: bytes, max_messages: int, max_bytes: int = MAX_BYTES) -> None:
        """Make one for a process of this *origin*, which hears at once what it publishes itself."""
        self._origin = origin
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._kept: deque[bytes | Gap] = deque()
        self._bytes = 0
        self._missed: int | None = 0
        self._deaf = self._ended = False
        self._some = asyncio.Event()

    async def take(self) -> bytes | Gap:
        """The next message, or a gap; waits for one. Raises `RuntimeError` if all is closed and none is left."""
        while not self._kept:
            if self._ended:
                raise RuntimeError(CLOSED)
            self._some.clear()
            await self._some.wait()
        if self._missed != 0:
            gap, self._missed = Gap(self._missed), 0
            return gap
        return self._pop()

    def told(self, message: bytes, *, here: bool) -> None:
        """See `Listener`."""
        # What was published here was told here, and comes back from Redis.
        if here or message[ORIGIN] != self._origin:
            self._keep(message)

    def lost(self) -> None:
        """See `Listener`."""
        self._deaf = True

    def ended(self) -> None:
        """See `Listener`."""
        self._ended = True
        self._some.set()

    def heard(self) -> None:
        """See `Listener`."""
        if self._deaf:
            self._deaf = False
            self._keep(Gap(None))

    def _keep(self, item: bytes | Gap) -> None:
        self._kept.append(item)
        self._bytes += len(item)
        while len(self._kept) > self._max_messages or (self._bytes > self._max_bytes and len(self._kept) > 1):
            unknown = isinstance(self._pop(), Gap) or self._missed is None
            self._missed = None if unknown or self._missed is None else self._missed + 1
        self._some.set()

    def _pop(self) -> bytes | Gap:
        item = self._kept.popleft()
        self._bytes -= len(item)
        return item
