"""Repair of what the server itself forgets: a restart without its last writes, a failover, a flush.

Redis loses the end of its history, or all of it. Each process leaves a number that rises, its watermark, in Redis, and
keeps a ring of the durable writes that Redis acknowledged lately. A watermark that went back, or another server
behind the same address, tells which of them may be gone; sending one twice is harmless.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

from polly_state.commands import Command, stamp_of
from polly_state.connection import ReplyError
from polly_state.errors import LocalStoreFull
from polly_state.events import Observer, ServerLoss
from polly_state.stamps import HybridClock, is_stamp, time_of
from polly_state.store.journal import weight
from polly_state.wire import Reply

__all__ = ["Ask", "RepairStatistics", "Ring", "ServerWatch"]

Ask: TypeAlias = Callable[..., Awaitable[Reply]]
"""Sends words to one server, over whichever connection; the reply may be a `ReplyError`."""

RING_SECONDS: Final = 60.0
WATERMARK_MS: Final = 86_400_000
MAX_MARKS: Final = 10_000
CHUNK: Final = 256
RUN_ID: Final = re.compile(rb"run_id:([0-9a-f]+)")


class Noted(NamedTuple):
    """A write that Redis has acknowledged."""

    command: Command[Any]
    result: Any

    def again(self) -> tuple[Command[Any], ...]:
        """What to send so that Redis has it: absolute commands under its own stamp."""
        return self.command.settled(self.result, stamp_of(self.command))


class RepairStatistics(NamedTuple):
    """What the server has lost so far."""

    resent: int
    possible_loss: int


class Ring:
    """The durable writes that Redis acknowledged last, bounded in number and bytes.

    What is noted of them stands in rows of its own: an object for each write would double what the garbage collector
    has to look through.
    """

    def __init__(self, clock: HybridClock, max_entries: int, max_bytes: int) -> None:
        self.noted = 0
        """How many writes were ever noted."""
        self._clock = clock
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._commands: deque[Command[Any]] = deque()
        self._results: deque[Any] = deque()
        self._times: deque[float] = deque()
        self._sizes: deque[int] = deque()
        self._bytes = 0

    @property
    def first(self) -> int:
        """The number of the oldest write that is still held."""
        return self.noted - len(self._commands)

    def note(self, command: Command[Any], result: Any) -> None:
        """Remember that Redis has carried out *command*."""
        size = weight(command)
        self._commands.append(command)
        self._results.append(result)
        self._times.append(self._clock.now())
        self._sizes.append(size)
        self.noted += 1
        self._bytes += size
        while len(self._commands) > self._max_entries or self._bytes > self._max_bytes:
            self._drop()

    def since(self, number: int) -> list[Noted]:
        """The writes from *number* on."""
        writes = zip(self._commands, self._results, strict=True)
        return [Noted(*write) for write in islice(writes, max(0, number - self.first), None)]

    def forget(self, before: float) -> None:
        """Let go of what was noted *before*, in seconds since the epoch."""
        while self._times and self._times[0] < before:
            self._drop()

    def _drop(self) -> None:
        self._commands.popleft()
        self._results.popleft()
        self._times.popleft()
        self._bytes -= self._sizes.popleft()


class ServerWatch:
    """Finds out whether the server is still the one that has acknowledged everything, and what to send again if not."""

    def __init__(
        self,
        namespace: str,
        clock: HybridClock,
        ring: Ring,
        *,
        again: Callable[[list[Command[Any]]], Awaitable[None]],
        wiped: Callable[[float], Awaitable[None]],
        observe: Observer,
        repair: bool = True,
        tag: str = "",
    ) -> None:
        """Watch over the server behind one *namespace*, or the part of it that has the slot of *tag*.

        Args:
            namespace: Whose watermark and epoch these are.
            clock: Its origin names the watermark.
            ring: What was acknowledged.
            again: Called with writes that may be lost.
            wiped: Called with the time of a deliberate wipe, in seconds since the epoch.
            observe: Told of losses.
            repair: Whether to send again, or only to report.
            tag: What the names of both bear, where there are several servers.
        """
        self.epoch = ""
        """The stamp of the last deliberate wipe, or nothing."""
        place = f":{{{tag}}}" if tag else ""
        self.epoch_key = f"{namespace}:~epoch{place}"
        self._resent = self._possible_loss = 0
        self._key = f"{namespace}:~watermark{place}:{clock.origin}"
        self._clock = clock
        self._ring = ring
        self._again = again
        self._wiped = wiped
        self._observe = observe
        self._repair = repair
        self._run_id: bytes | None = None
        #: The number of the first write after the last deliberate wipe.
        self._wiped_before = 0
        self._tick = self._confirmed = 0
        #: How many writes had been noted when a watermark was sent.
        self._marks: OrderedDict[int, int] = OrderedDict()
        self._turn = asyncio.Lock()

    def statistics(self) -> RepairStatistics:
        """What the server has lost so far."""
        return RepairStatistics(self._resent, self._possible_loss)

    async def check(self, ask: Ask, *, connected: bool = False) -> None:
        """Leave a new watermark, and make up for what the server has lost.

        Over a connection that was *connected* just now, a server that does not tell who it is counts as another one.
        Raises `StoreUnavailable`.
        """
        async with self._turn:
            self._tick += 1
            self._marks[self._tick] = self._ring.noted
            if len(self._marks) > MAX_MARKS:
                self._marks.popitem(last=False)
            previous, epoch, about = await asyncio.gather(
                ask("SET", self._key, self._tick, "PX", WATERMARK_MS, "GET"),
                ask("GET", self.epoch_key),
                ask("INFO", "server"),
            )
            # A server that takes no writes now acknowledges none either.
            if not isinstance(previous, ReplyError):
                await self._follow_epoch(ask, epoch)
                await self._compare(int(previous or 0), self._identity(about), connected=connected)

    async def _compare(self, held: int, run_id: bytes | None, *, connected: bool) -> None:
        other = run_id != self._run_id or (run_id is None and connected)
        if self._confirmed and (held < self._confirmed or other):
            await self._make_up(self._marks.get(held, 0))
        self._run_id = run_id
        self._confirmed = self._tick
        self._ring.forget(self._clock.now() - RING_SECONDS)

    async def _make_up(self, number: int) -> None:
        number = max(number, self._wiped_before)
        writes, possible_loss = self._ring.since(number), max(0, self._ring.first - number)
        resent = 0
        with suppress(LocalStoreFull):
            while self._repair and resent < len(writes):
                # There may be many thousands, and others wait for the event loop.
                part = writes[resent : resent + CHUNK]
                await self._again([command for write in part for command in write.again()])
                resent += len(part)
                await asyncio.sleep(0)
        possible_loss += len(writes) - resent
        self._resent += resent
        self._possible_loss += possible_loss
        if resent or possible_loss:
            self._observe(ServerLoss(resent, possible_loss))

    async def _follow_epoch(self, ask: Ask, reply: Reply) -> None:
        if isinstance(reply, ReplyError):
            return
        epoch = reply.decode("ascii", "replace") if reply else ""
        if epoch > self.epoch and is_stamp(epoch):
            self.epoch = epoch
            self._ring.forget(time_of(epoch))
            self._wiped_before = self._ring.first
            await self._wiped(time_of(epoch))
        elif epoch < self.epoch:
            # The server has lost it, with whatever else.
            await ask("SET", self.epoch_key, self.epoch)

    def _identity(self, about: Reply) -> bytes | None:
        found = None if isinstance(about, ReplyError) else RUN_ID.search(bytes(about))
        return found.group(1) if found else None
