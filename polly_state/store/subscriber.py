"""The subscriber: one connection on which Redis tells that something has come at a key."""

from __future__ import annotations

import asyncio
import random

from polly_state.connection import ConnectionManager, ReplyError
from polly_state.connection.link import Link
from polly_state.connection.packing import pack
from polly_state.errors import StateError
from polly_state.retry import until_done
from polly_state.store.wakes import Wakes
from polly_state.wire import Reply

__all__ = ["Subscriber"]

PAUSE, LONGEST_PAUSE = 0.02, 0.5


class Subscriber:
    """Subscribes to the keys that are waited for, again after each outage, and lets everybody look then.

    Until somebody waits it has no connection. A hung server is noticed by whatever notices it on the shared link.
    """

    def __init__(self, connection: ConnectionManager, wakes: Wakes) -> None:
        self._connection = connection
        self._wakes = wakes
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None
        wakes.on_first, wakes.on_last = self._subscribe, self._unsubscribe
        if wakes.keys():
            self._begin()

    async def aclose(self) -> None:
        """End it."""
        self._wakes.on_first = self._wakes.on_last = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._run(), name="polly_state subscriber")

    async def _run(self) -> None:
        while self._wakes.keys():
            await until_done(self._follow, expected=(StateError,), delay=pause)

    async def _follow(self) -> None:
        async with self._connection.dedicated.lease(None) as link:
            link.on_push = self._pushed
            keys = self._wakes.keys()
            if not keys:
                return
            # Its answer is a push message: this future ends with the link, or with a refusal.
            ended = link.submit(pack(("SUBSCRIBE", *keys)))
            self._link = link
            try:
                refusal = await ended
            finally:
                self._link = None
        if isinstance(refusal, ReplyError):
            raise self._connection.refused(refusal)

    def _subscribe(self, key: str) -> None:
        if self._link is not None and self._link.alive:
            self._link.tell(pack(("SUBSCRIBE", key)))
        elif self._task is None or self._task.done():
            self._begin()

    def _unsubscribe(self, key: str) -> None:
        if self._link is not None and self._link.alive:
            self._link.tell(pack(("UNSUBSCRIBE", key)))

    def _pushed(self, message: list[Reply]) -> None:
        # What came before the subscription is there to be seen when it is confirmed.
        if message[0] in (b"subscribe", b"message"):
            self._wakes.wake(message[1].decode())


def pause(failures: int) -> float:
    """Seconds until it is tried again."""
    return random.uniform(0.5, 1.0) * min(PAUSE * 2.0**failures, LONGEST_PAUSE)
