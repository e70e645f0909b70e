"""The observed store: counts and times what goes through, and keeps strangers' event loops out."""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from collections.abc import Iterable
from math import frexp
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

from polly_state.commands import Command, Effect
from polly_state.errors import StateError
from polly_state.stamps import HybridClock
from polly_state.store.base import Ack, Answer, Origin, Store
from polly_state.store.channels import CLOSED, ELSEWHERE, Channels

__all__ = ["ObservedStore", "OperationStatistics"]

T = TypeVar("T")

BUCKETS = 64
#: One call in so many is timed, the first one included: all are counted.
TIMED = 8
REDIS, READ = Origin.REDIS, Effect.READ


class OperationStatistics(NamedTuple):
    """How one kind of command has fared so far; times are of one call in eight, in seconds, within a factor of two."""

    operations: int
    errors: int
    by_origin: dict[str, int]
    p50: float
    p99: float
    slowest: float


class Tally:
    """Counts of one kind of command; bucket n, which may be negative, holds durations below 2**n seconds."""

    __slots__ = ("begun", "buckets", "elsewhere", "errors", "remote", "slowest")

    def __init__(self) -> None:
        self.begun = self.remote = self.errors = 0
        self.elsewhere: dict[str, int] = {}
        self.buckets = [0] * BUCKETS
        self.slowest = 0.0

    def time(self, seconds: float) -> None:
        """Note how long a call has taken."""
        self.buckets[frexp(seconds)[1]] += 1
        self.slowest = max(self.slowest, seconds)

    def snapshot(self) -> OperationStatistics:
        by_origin = dict(self.elsewhere)
        if self.remote:
            by_origin[REDIS.value] = self.remote
        return OperationStatistics(
            operations=sum(by_origin.values()),
            errors=self.errors,
            by_origin=by_origin,
            p50=self._quantile(0.5),
            p99=self._quantile(0.99),
            slowest=self.slowest,
        )

    def _quantile(self, quantile: float) -> float:
        rank = sum(self.buckets) * quantile
        seen = 0
        for exponent in range(-BUCKETS // 2, BUCKETS // 2):
            seen += self.buckets[exponent]
            if seen >= rank and seen:
                return min(2.0**exponent, self.slowest)
        return 0.0


class ObservedStore:
    """The outermost store. It belongs to the event loop it was started in, and says so on any other."""

    def __init__(self, clock: HybridClock, channels: Channels) -> None:
        self.clock = clock
        self._channels = channels
        self._store: Store | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tallies: dict[type[Command[Any]], Tally] = {}

    @property
    def opened(self) -> bool:
        """Whether commands are carried out."""
        return self._store is not None

    def check_fresh(self) -> None:
        """Raises `RuntimeError` if it was opened before."""
        if self._loop is not None:
            raise RuntimeError("this PollyState was started before; make a new one")
        self._loop = self._channels.loop = get_running_loop()

    def open(self, store: Store) -> None:
        """Carry out commands in *store* from now on."""
        self._store = store

    def close(self) -> None:
        """Carry out no more commands."""
        self._store = None

    async def execute(self, command: Command[T], require: Ack = Ack.LOCAL_VOLATILE) -> Answer[T]:
        """See `Store`. Raises `RuntimeError` on another event loop, or after a fork."""
        store = self._store
        if store is None or get_running_loop() is not self._loop:
            raise self._misuse()
        tally = self._tallies.get(command.__class__) or self._tally(command)
        began = 0.0 if tally.begun % TIMED else perf_counter()
        tally.begun += 1
        try:
            answer = await store.execute(command, require)
        except StateError:
            tally.errors += 1
            raise
        if began:
            tally.time(perf_counter() - began)
        if answer[1] is REDIS:
            tally.remote += 1
        else:
            name = answer.origin.value
            tally.elsewhere[name] = tally.elsewhere.get(name, 0) + 1
            if command.effect is not READ:
                # Nobody else tells of it.
                self._channels.stir(command.key)
        return answer

    async def execute_many(self, commands: Iterable[Command[Any]]) -> list[Answer[Any]]:
        """See `Store`."""
        return await asyncio.gather(*(self.execute(command) for command in commands))

    def statistics(self) -> dict[str, OperationStatistics]:
        """A snapshot, by the name of the command."""
        return {kind.__name__: tally.snapshot() for kind, tally in self._tallies.items()}

    def _misuse(self) -> RuntimeError:
        if self._loop is None:
            return RuntimeError("this PollyState is not started; use it within 'async with'")
        if self._store is None:
            return RuntimeError(CLOSED)
        return RuntimeError(ELSEWHERE)

    def _tally(self, command: Command[Any]) -> Tally:
        return self._tallies.setdefault(type(command), Tally())
