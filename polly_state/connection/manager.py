"""The one way to Redis: a link that all share, others for what would hold it up, and the deadline over all of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from polly_state.address import Address
from polly_state.connection.breaker import CircuitState, Happening
from polly_state.connection.budget import RetryBudget
from polly_state.connection.canary import Canary
from polly_state.connection.circuits import Circuits
from polly_state.connection.dedicated import DedicatedLinks
from polly_state.connection.link import Link
from polly_state.connection.packing import pack
from polly_state.connection.recovery import Recovery
from polly_state.connection.refusals import Concern, concern_of, doubtful, translated
from polly_state.connection.replies import LinkLost, ReplyError
from polly_state.connection.sentinels import dialer_to
from polly_state.connection.server_time import sample_time
from polly_state.connection.statistics import ConnectionStatistics
from polly_state.errors import ConfigurationError, DeadlineExceeded, Overloaded, StateError, StoreUnavailable
from polly_state.events import ConnectionLost, ConnectionOpened, Observer
from polly_state.settings import Settings
from polly_state.stamps import HybridClock
from polly_state.wire import Reply, Words

__all__ = ["ConnectionManager"]


class ConnectionManager:
    """Carries commands to one Redis. It owns its links and its tasks, and belongs to one event loop."""

    def __init__(self, address: Address, settings: Settings, *, clock: HybridClock, observe: Observer) -> None:
        self.address = address
        self._dialer = dialer = dialer_to(address, settings.deadlines.connect, settings.bounds)
        self.circuits = Circuits(settings.breaker, observe)
        self._settings = settings
        self.deadline = settings.deadlines.operation
        self._shared_bytes = settings.bounds.shared_bytes
        self._clock = clock
        self._observe = observe
        self.canary = Canary(dialer, settings)
        self._recovery = Recovery(self.circuits, self.canary, settings.breaker, self._reconnect)
        self._current: Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self.dedicated = DedicatedLinks(self._make_link, self.circuits, settings.bounds.dedicated_connections)
        self._budget = RetryBudget()
        self._made = self._commands = self._overdue = self._retries = 0
        self._closed = False
        self.greet: Callable[[Link], Awaitable[None]] | None = None
        self.circuits.on_change += (self._follow_circuits, self._recovery.begin)

    async def start(self) -> None:
        """Connect. A Redis that is away is left to the canary.

        Raises:
            ConfigurationError: Redis refuses the password or the certificate.
            StoreUnavailable: Redis is away, and settings say that it is required.
        """
        try:
            await self._connected()
        except StoreUnavailable:
            if self._settings.required:
                raise

    def send(self, words: Words) -> Awaitable[Reply]:
        """Send a command; awaiting the result gives its reply, which may be a `ReplyError`.

        Raises:
            StoreUnavailable: It was not sent, or no reply came within the deadline.
            ConfigurationError: Redis refuses the password or the certificate.
        """
        packed = pack(words)
        if len(packed) > self._shared_bytes:
            return self._send_apart(packed)
        if self._current is None:
            raise self.circuits.refusal()
        return self._current.submit(packed)

    async def send_again(self, words: Words, error: StoreUnavailable, *, repeatable: bool) -> Reply:
        """After *error*, send the command once more, if there is time and it cannot do harm; else raise *error*.

        Args:
            words: The command.
            error: What its first attempt came to.
            repeatable: It may be sent again when nobody knows whether it has run.
        """
        hopeless = isinstance(error, (Overloaded, DeadlineExceeded)) or not self.circuits.link.closed or self._closed
        # What was not sent is a first attempt still; what may have run must bear it, and there must be reason to hope.
        if hopeless or (error.maybe_applied and (not repeatable or self._budget.empty)):
            raise error
        self._retries += 1
        loop = asyncio.get_running_loop()
        deadline = error.deadline if isinstance(error, LinkLost) else loop.time() + self.deadline
        try:
            async with asyncio.timeout_at(deadline):
                await self._connected()
                return await self.send(words)
        except TimeoutError as timeout:
            raise DeadlineExceeded("Redis did not answer within the deadline", maybe_applied=True) from timeout
        except (StoreUnavailable, ConfigurationError) as second:
            if second.maybe_applied or not error.maybe_applied:
                raise
            raise doubtful(second) from second

    async def redirected(self, words: Words, reply: Reply) -> Reply:  # noqa: ARG002 - there is no other server
        """See `Cluster.redirected`: here an error is what it is."""
        return reply

    def node_of(self, words: Words) -> ConnectionManager:  # noqa: ARG002 - there is one server
        """See `Cluster.node_of`."""
        return self

    def refused(self, error: ReplyError) -> StateError:
        """Take note of an error reply; the error to raise for it."""
        concern = concern_of(error)
        meaning = translated(error)
        if concern is Concern.LINK:
            self.circuits.trip(str(meaning))
        elif concern is Concern.WRITE:
            self.circuits.refuse_writes(str(meaning), demoted=error.code == "READONLY")
        elif isinstance(meaning, ConfigurationError):
            self.circuits.found(meaning)
        return meaning

    def statistics(self) -> ConnectionStatistics:
        """How it is now."""
        current = self._current
        return ConnectionStatistics(
            address=str(self.address),
            link=self.circuits.link.state,
            write=self.circuits.write.state,
            connections=self._made,
            connected=current is not None and current.alive,
            in_flight=0 if current is None else current.in_flight,
            commands=self._commands + (0 if current is None else current.commands),
            overdue=self._overdue,
            retries=self._retries,
        )

    async def aclose(self) -> None:
        """End every task and connection."""
        self._closed = True
        await self._recovery.aclose()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        self.dedicated.close()
        self._drop_links("closed")
        # The transports tell of their end in the loop's next turn.
        await asyncio.sleep(0)

    def answered(self, link: Link, count: int) -> None:
        """See `LinkListener`."""
        self.circuits.link.succeeded(link.generation, count)
        self._budget.earn(count)

    def overdue(self, link: Link, count: int, *, silent: bool) -> None:
        """See `LinkListener`: a peer that says nothing for a whole deadline needs no counting."""
        self._overdue += count
        reason = f"no answer within {self.deadline:g} s"
        if silent:
            self.circuits.trip(reason, generation=link.generation)
        else:
            self.circuits.failed(link.generation, reason, count)

    def lost(self, link: Link, reason: str, unsent: int, unknown: int) -> None:
        """See `LinkListener`: reconnect at once, and open the circuit if that fails."""
        self._observe(ConnectionLost(str(self.address), reason, unsent, unknown))
        if self._closed or link is not self._current:
            return
        self._budget.spend()
        self.circuits.failed(link.generation, reason)
        if self.circuits.link.closed:
            _ = self._begin_connecting()

    async def _send_apart(self, packed: bytes) -> Reply:
        generation = self.circuits.link.generation
        try:
            async with asyncio.timeout(self.deadline), self.dedicated.lease(self.deadline) as link:
                return await link.submit(packed)
        except TimeoutError as timeout:
            self.circuits.failed(generation, f"no answer to a large command within {self.deadline:g} s")
            raise DeadlineExceeded("Redis did not answer within the deadline", maybe_applied=True) from timeout

    async def _connected(self) -> None:
        if self._current is None or not self._current.alive:
            await asyncio.shield(self._begin_connecting())

    def _begin_connecting(self) -> asyncio.Task[None]:
        # One attempt serves all who wait, and outlives those of them who are cancelled.
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._reconnect(), name="polly_state connect")
            self._connecting.add_done_callback(self._connect_done)
        return self._connecting

    def _connect_done(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, ConfigurationError):
            self.circuits.found(error)
        elif isinstance(error, StoreUnavailable):
            self.circuits.trip(str(error))

    async def _reconnect(self) -> None:
        """Make the shared link anew, and close the link circuit if it was being probed."""
        link = await self._make_link(self.deadline)
        try:
            await sample_time(link, self._clock)
            if self.greet is not None:
                await self.greet(link)
        except BaseException:
            link.close("given up")
            raise
        if self.circuits.link.state not in (CircuitState.CLOSED, CircuitState.PROBING):
            link.close("not wanted")
            raise self.circuits.refusal()
        if self._current is not None:
            self._commands += self._current.commands
            self._current.close("replaced")
        self._current = link
        self.circuits.fault, self.circuits.demoted = None, False
        probed = self.circuits.link.happen(Happening.PROBE_SUCCEEDED, "Redis answers")
        link.generation = self.circuits.link.generation
        if probed:
            self.circuits.changed(self.circuits.link)

    async def _make_link(self, deadline: float | None) -> Link:
        began = time.perf_counter()
        link = await self._dialer.link(self, deadline)
        link.generation = self.circuits.link.generation
        self._made += 1
        self._observe(ConnectionOpened(str(self.address), time.perf_counter() - began))
        return link

    def _follow_circuits(self) -> None:
        if not self.circuits.link.closed:
            self._drop_links(self.circuits.link.reason)

    def _drop_links(self, reason: str) -> None:
        links = [*self.dedicated.take_all(), *([] if self._current is None else [self._current])]
        self._current = None
        for link in links:
            self._commands += link.commands
            if link.alive:
                unsent, unknown = link.close(reason)
                self._observe(ConnectionLost(str(self.address), reason, unsent, unknown))
