"""The one way to Redis: a shared link, kept alive by a breaker and a canary, with the deadline over all of it."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import hiredis

from polly_state.address import Address
from polly_state.connection.breaker import CircuitBreaker, CircuitState, Happening
from polly_state.connection.canary import Canary
from polly_state.connection.dial import Dialer, take_writer
from polly_state.connection.link import Link, LinkLost, ReplyError
from polly_state.connection.refusals import Concern, concern_of, translated
from polly_state.errors import (
    CircuitOpen,
    ConfigurationError,
    DeadlineExceeded,
    Overloaded,
    StateError,
    StoreUnavailable,
)
from polly_state.events import CircuitChanged, ConnectionLost, ConnectionOpened, Event, Observer
from polly_state.retry import until_done
from polly_state.settings import Settings
from polly_state.stamps import HybridClock
from polly_state.wire import Reply, Words

__all__ = ["ConnectionManager", "ConnectionStatistics"]

_log = logging.getLogger("polly_state")

RETRY_BUDGET = 10.0
RETRY_REFILL = 0.1


@dataclass(frozen=True, slots=True)
class ConnectionStatistics:
    """A snapshot of the way to Redis."""

    address: str
    link: CircuitState
    write: CircuitState
    connections: int
    """Shared and dedicated connections made so far."""
    connected: bool
    in_flight: int
    commands: int
    overdue: int
    """Commands that passed their deadline so far."""
    retries: int


class ConnectionManager:
    """Carries commands to one Redis. It owns its links and its tasks, and belongs to one event loop."""

    def __init__(self, address: Address, settings: Settings, *, clock: HybridClock, observe: Observer) -> None:
        self.link = CircuitBreaker("link", settings.breaker)
        self.write = CircuitBreaker("write", settings.breaker)
        self.fault: ConfigurationError | None = None
        """Why every call raises, while Redis refuses the password or the certificate."""
        self.on_change: Callable[[], None] = lambda: None
        """Called after a circuit has changed."""
        self._address = address
        self._settings = settings
        self._shared_bytes = settings.bounds.shared_bytes
        self._clock = clock
        self._observe = observe
        self._dialer = Dialer(address, settings.deadlines.connect)
        self._canary = Canary(self._dialer, settings)
        self._current: Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._recovery: asyncio.Task[None] | None = None
        self._dedicated = asyncio.Semaphore(settings.bounds.dedicated_connections)
        self._idle: list[Link] = []
        self._budget = RETRY_BUDGET
        self._made = self._commands = self._overdue = self._retries = 0
        self._closed = False

    async def start(self) -> None:
        """Connect. Raises `ConfigurationError`; a Redis that is away is left to the canary instead."""
        try:
            await self._connected()
        except StoreUnavailable as error:
            if self._settings.required:
                raise
            self._trip(str(error))

    def send(self, words: Words) -> Awaitable[Reply]:
        """Send a command; awaiting the result gives its reply, which may be a `ReplyError`.

        Raises:
            StoreUnavailable: It was not sent, or no reply came within the deadline.
            ConfigurationError: Redis refuses the password or the certificate.
        """
        packed = hiredis.pack_command(words)
        if len(packed) > self._shared_bytes:
            return self._send_apart(packed)
        if self._current is None:
            raise self._refusal()
        return self._current.submit(packed)

    async def send_again(self, words: Words, error: StoreUnavailable, *, repeatable: bool) -> Reply:
        """After *error*, send the command once more, if there is time and it cannot do harm; else raise *error*.

        Args:
            words: The command.
            error: What its first attempt came to.
            repeatable: It may be sent again when nobody knows whether it has run.
        """
        hopeless = isinstance(error, (Overloaded, DeadlineExceeded)) or (error.maybe_applied and not repeatable)
        if hopeless or not self.link.closed or self._budget < 1:
            raise error
        self._budget -= 1
        self._retries += 1
        loop = asyncio.get_running_loop()
        deadline = error.deadline if isinstance(error, LinkLost) else loop.time() + self._settings.deadlines.operation
        try:
            async with asyncio.timeout_at(deadline):
                await self._connected()
                return await self.send(words)
        except TimeoutError as timeout:
            raise DeadlineExceeded("Redis did not answer within the deadline", maybe_applied=True) from timeout

    async def ping(self) -> float:
        """Seconds for a round trip. Raises `StoreUnavailable`."""
        began = time.perf_counter()
        await self.send(("PING",))
        return time.perf_counter() - began

    def refused(self, error: ReplyError) -> StateError:
        """Take note of an error reply; the error to raise for it."""
        concern = concern_of(error)
        meaning = translated(error, str(self._address))
        if concern is Concern.LINK:
            self._trip(str(meaning))
        elif concern is Concern.WRITE and self.write.happen(Happening.TRIPPED, str(meaning)):
            self._changed(self.write)
        elif concern is Concern.ACCESS and isinstance(meaning, ConfigurationError):
            self._found(meaning)
        return meaning

    @asynccontextmanager
    async def dedicated(self, deadline: float | None = None) -> AsyncIterator[Link]:
        """A link of one's own, for what may block or is large; waits while too many are in use.

        Args:
            deadline: Seconds for each command on it; None for as long as it takes.

        Raises:
            StoreUnavailable: Redis is away.
        """
        if not self.link.closed:
            raise self._refusal()
        async with self._dedicated:
            self._idle = [link for link in self._idle if link.alive]
            link = self._idle.pop() if deadline is not None and self._idle else await self._make_link(deadline)
            try:
                yield link
            except BaseException:
                link.close("given up")
                raise
            if link.alive and deadline is not None and not link.in_flight:
                self._idle.append(link)
            else:
                link.close("done")

    def isolate(self, reason: str, seconds: float) -> None:
        """Keep away from Redis for so many seconds, as if it were down."""
        if self.link.happen(Happening.ISOLATED, reason):
            self._changed(self.link)
            asyncio.get_running_loop().call_later(seconds, self._release)

    def statistics(self) -> ConnectionStatistics:
        """How it is now."""
        current = self._current
        return ConnectionStatistics(
            address=str(self._address),
            link=self.link.state,
            write=self.write.state,
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
        tasks = [task for task in (self._connecting, self._recovery) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._drop_links("closed")
        # The transports tell of their end in the loop's next turn.
        await asyncio.sleep(0)

    def answered(self, link: Link, count: int) -> None:
        """See `LinkListener`."""
        self.link.succeeded(link.generation, count)
        if self._budget < RETRY_BUDGET:
            self._budget = min(RETRY_BUDGET, self._budget + count * RETRY_REFILL)

    def overdue(self, link: Link, count: int, *, silent: bool) -> None:
        """See `LinkListener`: a peer that says nothing for a whole deadline needs no counting."""
        self._overdue += count
        reason = f"no answer within {self._settings.deadlines.operation:g} s"
        if silent:
            self._trip(reason, generation=link.generation)
        elif self.link.failed(link.generation, reason, count):
            self._opened(reason)

    def lost(self, link: Link, reason: str, unsent: int, unknown: int) -> None:
        """See `LinkListener`: reconnect at once, and open the circuit if that fails."""
        self._observe(ConnectionLost(str(self._address), reason, unsent, unknown))
        if self._closed or link is not self._current:
            return
        if self.link.failed(link.generation, reason):
            self._opened(reason)
        elif self.link.closed:
            self._begin_connecting()

    async def _send_apart(self, packed: bytes) -> Reply:
        deadline = self._settings.deadlines.operation
        try:
            async with asyncio.timeout(deadline), self.dedicated(deadline) as link:
                return await link.submit(packed)
        except TimeoutError as timeout:
            raise DeadlineExceeded("Redis did not answer within the deadline", maybe_applied=True) from timeout

    def _refusal(self) -> StateError:
        if self.fault is not None:
            return type(self.fault)(*self.fault.args)
        if self._closed:
            return StoreUnavailable("this state is closed")
        if self.link.closed:
            return StoreUnavailable("not connected to Redis yet")
        return CircuitOpen(f"the link circuit is {self.link.state.value}: {self.link.reason}")

    async def _connected(self) -> None:
        if self._current is not None and self._current.alive:
            return
        await asyncio.shield(self._begin_connecting())

    def _begin_connecting(self) -> asyncio.Task[None]:
        # One attempt serves all who wait, and outlives those of them who are cancelled.
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect(), name="polly_state connect")
            self._connecting.add_done_callback(self._connect_done)
        return self._connecting

    async def _connect(self) -> None:
        link = await self._make_link(self._settings.deadlines.operation)
        if self._current is not None:
            self._commands += self._current.commands
        self._current = link
        await self._sample_time(link)

    def _connect_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, ConfigurationError):
            self._found(error)
        elif isinstance(error, StoreUnavailable):
            self._trip(str(error))

    async def _make_link(self, deadline: float | None) -> Link:
        began = time.perf_counter()
        connection = await self._dialer.dial()
        link = Link(self, self._settings.bounds, deadline)
        link.generation = self.link.generation
        link.take_over(take_writer(connection))
        self._made += 1
        self._observe(ConnectionOpened(str(self._address), time.perf_counter() - began))
        return link

    async def _sample_time(self, link: Link) -> None:
        began = time.perf_counter()
        reply = await link.submit(hiredis.pack_command(("TIME",)))
        if not isinstance(reply, ReplyError):
            self._clock.follow(int(reply[0]) + int(reply[1]) / 1e6, time.perf_counter() - began)

    def _trip(self, reason: str, *, generation: int | None = None) -> None:
        if self.link.trip(self.link.generation if generation is None else generation, reason):
            self._opened(reason)

    def _opened(self, reason: str) -> None:
        self._drop_links(reason)
        self._changed(self.link)

    def _found(self, fault: ConfigurationError) -> None:
        self.fault = fault
        if self.link.happen(Happening.FAULT_FOUND, str(fault)):
            self._drop_links(str(fault))
            self._changed(self.link)

    def _release(self) -> None:
        if self.link.happen(Happening.RELEASED):
            self._changed(self.link)

    def _drop_links(self, reason: str) -> None:
        links = self._idle if self._current is None else [self._current, *self._idle]
        for link in links:
            self._commands += link.commands
            if link.alive:
                unsent, unknown = link.close(reason)
                self._observe(ConnectionLost(str(self._address), reason, unsent, unknown))
        self._current = None
        self._idle = []

    def _changed(self, circuit: CircuitBreaker) -> None:
        self._observe(CircuitChanged(circuit.name, circuit.state.value, circuit.reason))
        if not circuit.closed and circuit.state is not CircuitState.ISOLATED and not self._closed:
            self._begin_recovery()
        self.on_change()

    def _begin_recovery(self) -> None:
        if self._recovery is None or self._recovery.done():
            self._recovery = asyncio.create_task(self._recover(), name="polly_state canary")
            self._recovery.add_done_callback(_log_failure)

    async def _recover(self) -> None:
        await asyncio.sleep(self._settings.breaker.probe_delay * random.uniform(0.8, 1.2))  # noqa: S311
        await until_done(self._probe, expected=(StoreUnavailable, ConfigurationError), delay=self._delay)

    def _delay(self, failures: int) -> float:
        breaker = self._settings.breaker
        if self.fault is not None:
            return breaker.probe_delay_misconfigured
        delay = min(breaker.probe_delay * 2.0**failures, breaker.probe_delay_cap)
        return delay * random.uniform(0.8, 1.2)  # noqa: S311

    async def _probe(self) -> None:
        for circuit in (self.link, self.write):
            circuit.happen(Happening.PROBE_STARTED)
        try:
            finding = await self._canary.probe()
            if self.link.state is CircuitState.PROBING:
                await self._close_link()
        except BaseException as error:
            for circuit in (self.link, self.write):
                circuit.happen(Happening.PROBE_FAILED, "" if isinstance(error, asyncio.CancelledError) else str(error))
            if isinstance(error, ConfigurationError):
                self._found(error)
            elif isinstance(error, StoreUnavailable) and self.fault is not None:
                self.fault = None
                self._changed(self.link)
            raise
        self._settle_write(finding.refusal)

    async def _close_link(self) -> None:
        link = await self._make_link(self._settings.deadlines.operation)
        await self._sample_time(link)
        self.fault = None
        if not self.link.happen(Happening.PROBE_SUCCEEDED):
            link.close("no longer wanted")
            return
        link.generation = self.link.generation
        self._current = link
        self._changed(self.link)

    def _settle_write(self, refusal: ReplyError | None) -> None:
        if refusal is None or concern_of(refusal) is Concern.COMMAND:
            if self.write.happen(Happening.PROBE_SUCCEEDED, ""):
                self._changed(self.write)
            return
        meaning = self.refused(refusal)
        self.write.happen(Happening.PROBE_FAILED, str(meaning))
        raise meaning


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("the canary ended with a fault of its own", exc_info=task.exception())
