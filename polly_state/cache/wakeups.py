"""Wakeups: who waits for another process' load is woken when it ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol

__all__ = ["Channel", "Wakeups"]

#: Seconds between looks when nothing can be heard.
DEAF: Final = 0.1


class Channel(Protocol):
    """What other processes tell, as `Subscription` has it."""

    async def ready(self) -> bool:
        """Whether everything is heard that is told from now on."""
        ...

    async def aclose(self) -> None:
        """Hear no more."""
        ...


class Hearing:
    """The wait for one key."""

    def __init__(self, *, heard: bool) -> None:
        self._event = asyncio.Event()
        self._heard = heard

    def wake(self, *, deaf: bool = False) -> None:
        """Something has happened; *deaf* if nothing more will be heard."""
        self._event.set()
        self._heard = self._heard and not deaf

    async def wait(self, seconds: float) -> None:
        """Wait until the load ends, or for *seconds* at most."""
        if not self._heard:
            seconds = min(seconds, random.uniform(DEAF / 2, DEAF))
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return
        self._event.clear()


class Wakeups:
    """All waits of a process."""

    def __init__(self) -> None:
        self._channel: Channel | None = None
        self._hearings: dict[str, set[Hearing]] = {}

    def open(self, listen: Callable[[Callable[[bytes | None], None]], Channel | None]) -> None:
        """Hear through what *listen* gives for a function that is told of messages."""
        self._channel = listen(self._tell)

    @asynccontextmanager
    async def hear(self, key: str) -> AsyncGenerator[Hearing]:
        """Hear of *key* for the length of the block: what happens after it was entered is not missed."""
        heard = self._channel is not None and await self._channel.ready()
        hearing = Hearing(heard=heard)
        self._hearings.setdefault(key, set()).add(hearing)
        try:
            yield hearing
        finally:
            hearings = self._hearings[key]
            hearings.discard(hearing)
            if not hearings:
                del self._hearings[key]

    async def aclose(self) -> None:
        """Hear no more."""
        if self._channel is not None:
            await self._channel.aclose()

    def _tell(self, message: bytes | None) -> None:
        # When the channel is lost, what was told meanwhile may be too: all look again.
        names = list(self._hearings) if message is None else [message.decode("utf-8", "replace")]
        for name in names:
            for hearing in self._hearings.get(name, ()):
                hearing.wake(deaf=message is None)
