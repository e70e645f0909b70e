"""Seeds: the servers of a Cluster that one was told of, by which the others are found."""

from __future__ import annotations

import asyncio

from polly_state.address import Address
from polly_state.cluster.slots import QUESTIONS, View, view_in
from polly_state.connection.dial import Dialer
from polly_state.connection.listener import Unheard
from polly_state.connection.packing import pack
from polly_state.errors import StoreUnavailable
from polly_state.settings import Settings

__all__ = ["Seeds"]


class Seeds(Unheard):
    """Asked while no server is known that answers, each over a connection for that question."""

    def __init__(self, address: Address, settings: Settings) -> None:
        bounds, deadlines = settings.bounds, settings.deadlines
        self._addresses = [address.at(host, port) for host, port in address.nodes]
        self._dialers = [Dialer(each, deadlines.connect, bounds) for each in self._addresses]
        self._deadline = deadlines.operation

    async def view(self) -> View:
        """How the first of them that answers sees the Cluster.

        Raises `StoreUnavailable` if none answers, and `ConfigurationError` if one will have nothing to do with us.
        """
        reasons: list[StoreUnavailable] = []
        for address, dialer in zip(self._addresses, self._dialers, strict=True):
            try:
                return await self._ask(address, dialer)
            except StoreUnavailable as error:
                reasons.append(error)
        raise StoreUnavailable("no server of the Cluster answers") from ExceptionGroup("each of them", reasons)

    async def _ask(self, address: Address, dialer: Dialer) -> View:
        link = await dialer.link(self, self._deadline)
        try:
            return view_in(await asyncio.gather(*(link.submit(pack(words)) for words in QUESTIONS)), address)
        finally:
            link.close("asked")
