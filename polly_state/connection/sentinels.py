"""Sentinels: which server is the master now, asked before each connection."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from polly_state.address import Address
from polly_state.connection.dial import Dialer
from polly_state.connection.link import Link
from polly_state.connection.listener import LinkListener, Unheard
from polly_state.connection.packing import pack
from polly_state.connection.refusals import translated
from polly_state.connection.replies import ReplyError
from polly_state.errors import AuthenticationFailed, ConfigurationError, DeadlineExceeded, StateError, StoreUnavailable
from polly_state.settings import Bounds
from polly_state.wire import Reply, Words

__all__ = ["MasterDialer", "dialer_to"]

ROLE: Final = pack(("ROLE",))


class MasterDialer(Dialer, Unheard):
    """Makes connections to the master that Sentinels name, whichever server that is by then."""

    def __init__(self, address: Address, deadline: float, bounds: Bounds) -> None:
        super().__init__(address, deadline, bounds)
        self._question: Words = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.master)
        sentinels = [replace(address.at(host, port), db=0) for host, port in address.nodes]
        self._sentinels = [self._ways_to(each) for each in sentinels]
        self._masters: dict[Address, Dialer] = {}

    async def link(self, listener: LinkListener, deadline: float | None) -> Link:
        """See `Dialer`; all of it within the deadline.

        Raises `ConfigurationError` too if no Sentinel knows a master of that name.
        """
        try:
            async with asyncio.timeout(self._deadline):
                return await self._link(listener, deadline)
        except TimeoutError as error:
            raise DeadlineExceeded(f"no connection to {self.address} within {self._deadline:g} s") from error

    async def _link(self, listener: LinkListener, deadline: float | None) -> Link:
        address = await self._master()
        # A dialer reads its certificates once.
        dialer = self._masters.setdefault(address, Dialer(address, self._deadline, self._bounds))
        link = await dialer.link(listener, deadline)
        try:
            await self._check(link, address)
        except BaseException:
            link.close("not the master")
            raise
        return link

    async def _check(self, link: Link, address: Address) -> None:
        # The Sentinels may be a moment behind: one that was master, or is about to be.
        role = await link.submit(ROLE)
        if not isinstance(role, ReplyError) and role[0] != b"master":
            raise StoreUnavailable(f"{address} is not the master that the Sentinels take it for")

    async def _master(self) -> Address:
        """Where the first Sentinel that answers has it: one that hangs must not hold up the others."""
        asking = [asyncio.create_task(self._ask(each), name="polly_state sentinel") for each in self._sentinels]
        errors: list[StateError] = []
        try:
            for answer in asyncio.as_completed(asking):
                try:
                    host, port = await answer
                except StateError as error:
                    errors.append(error)
                else:
                    return self.address.at(host.decode(), int(port))
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        reasons = ExceptionGroup("each of them", errors)
        faults = [error for error in errors if isinstance(error, ConfigurationError)]
        if faults:
            raise type(faults[0])(*faults[0].args) from reasons
        raise StoreUnavailable(f"no Sentinel of {self.address} answers") from reasons

    async def _ask(self, ways: tuple[Dialer, Dialer]) -> Reply:
        plain, with_password = ways
        try:
            # They seldom have a password, and refuse one that they have not asked for.
            link = await plain.link(self, self._deadline)
        except AuthenticationFailed:
            link = await with_password.link(self, self._deadline)
        try:
            reply = await link.submit(pack(self._question))
        finally:
            link.close("asked")
        if isinstance(reply, ReplyError):
            raise translated(reply)
        if reply is None:
            raise ConfigurationError(f"the Sentinel at {plain.address} knows no master of the name in the URL")
        return reply

    def _ways_to(self, sentinel: Address) -> tuple[Dialer, Dialer]:
        plain = replace(sentinel, username=None, password=None)
        return Dialer(plain, self._deadline, self._bounds), Dialer(sentinel, self._deadline, self._bounds)


def dialer_to(address: Address, deadline: float, bounds: Bounds) -> Dialer:
    """What makes connections to *address*."""
    return MasterDialer(address, deadline, bounds) if address.master else Dialer(address, deadline, bounds)
