"""Dedicated links: few and bounded, for what would hold up everybody else on the shared one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext

from polly_state.connection.circuits import Circuits
from polly_state.connection.link import Link
from polly_state.errors import StateError, StoreUnavailable

__all__ = ["DedicatedLinks"]


class DedicatedLinks:
    """Each is used by one at a time; those with a deadline are kept for the next."""

    def __init__(
        self, make_link: Callable[[float | None], Awaitable[Link]], circuits: Circuits, max_links: int
    ) -> None:
        self._make_link = make_link
        self._circuits = circuits
        self._free = asyncio.Semaphore(max_links)
        self._links: set[Link] = set()
        self._idle: list[Link] = []
        self._closed = False

    @asynccontextmanager
    async def lease(self, deadline: float | None) -> AsyncGenerator[Link]:
        """A link of one's own for the length of the block; waits while too many with a deadline are in use.

        Args:
            deadline: Seconds for each command on it; None for as long as it takes, which is for who listens, and waits
                for nobody.

        Raises:
            StoreUnavailable: Redis is away.
            ConfigurationError: Redis refuses the password or the certificate.
        """
        async with nullcontext() if deadline is None else self._free:
            link = await self._link(deadline)
            try:
                yield link
            finally:
                # One that was left in the middle of something is of no more use to anybody.
                if deadline is None or link.in_flight or link not in self._links:
                    self._links.discard(link)
                    link.close("done")
                else:
                    self._idle.append(link)

    def close(self) -> None:
        """Lend no more links."""
        self._closed = True

    def take_all(self) -> set[Link]:
        """Every link, in use or idle, for the caller to close; none is kept."""
        links, self._links, self._idle = self._links, set(), []
        return links

    async def _link(self, deadline: float | None) -> Link:
        self._check_wanted()
        self._idle = [link for link in self._idle if link.alive]
        if deadline is not None and self._idle:
            return self._idle.pop()
        self._links = {link for link in self._links if link.alive}
        try:
            link = await self._make_link(deadline)
        except StoreUnavailable as error:
            self._circuits.trip(str(error))
            raise
        try:
            self._check_wanted()
        except StateError:
            link.close("no longer wanted")
            raise
        self._links.add(link)
        return link

    def _check_wanted(self) -> None:
        if self._closed or not self._circuits.link.closed:
            raise self._circuits.refusal()
