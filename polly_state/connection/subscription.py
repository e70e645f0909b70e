"""Subscriptions: what is published on one channel, over a link of its own, while somebody wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Final

from polly_state.connection.dedicated import DedicatedLinks
from polly_state.connection.link import Link
from polly_state.connection.packing import pack
from polly_state.connection.replies import ReplyError
from polly_state.errors import StateError
from polly_state.wire import Reply

__all__ = ["Subscription"]

PING: Final = pack(("PING",))


class Subscription:
    """Hears *channel* from `ready` on, until nobody has asked for *idle* seconds or the link is lost.

    Messages may be lost with the link, so that who waits must have a bound; *on_message* is called on the event loop,
    and with None when the link is lost.
    """

    def __init__(
        self,
        links: DedicatedLinks,
        channel: str,
        on_message: Callable[[bytes | None], None],
        *,
        deadline: float,
        idle: float = 30.0,
    ) -> None:
        self._links = links
        self._channel = channel
        self._on_message = on_message
        self._deadline = deadline
        self._idle = idle
        self._wanted_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._up: asyncio.Future[bool] | None = None

    async def ready(self) -> bool:
        """Whether what is published from now on is heard; False if Redis is away or does not allow it."""
        loop = asyncio.get_running_loop()
        self._wanted_at = loop.time()
        if self._up is None:
            self._up = loop.create_future()
            self._task = loop.create_task(self._run(self._up), name="polly_state subscription")
        return await asyncio.shield(self._up)

    async def aclose(self) -> None:
        """Hear no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, up: asyncio.Future[bool]) -> None:
        try:
            # Not having it in time is not worth an error: who waits has a bound.
            with suppress(StateError, TimeoutError):
                await self._listen(up)
        finally:
            self._up = self._task = None
            if not up.done():
                up.set_result(False)
            self._on_message(None)

    async def _listen(self, up: asyncio.Future[bool]) -> None:
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as held:
            async with asyncio.timeout(self._deadline):
                link = await held.enter_async_context(self._links.lease(None))
            link.on_push = self._push
            # In RESP3 a subscription is answered by a push alone, so that the reply that is awaited is the PING's.
            answer = await self._ask(link, pack(("SUBSCRIBE", self._channel)) + PING)
            if isinstance(answer, ReplyError):
                # The user may not: an error is a reply, and comes before the PING's.
                return
            up.set_result(True)
            while loop.time() < self._wanted_at + self._idle:
                await asyncio.sleep(self._idle / 10)
                await self._ask(link, PING)

    async def _ask(self, link: Link, packed: bytes) -> Reply:
        async with asyncio.timeout(self._deadline):
            return await link.submit(packed)

    def _push(self, message: list[Reply]) -> None:
        if message[0] == b"message":
            self._on_message(message[2])
