"""The resilient store: Redis while it answers, what is known here while it does not, and back without loss."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NoReturn, Protocol, TypeVar

from polly_state.commands import Command, Effect
from polly_state.connection import ReplyError
from polly_state.errors import (
    CircuitOpen,
    CommandRejected,
    ConfigurationError,
    LocalStoreFull,
    Overloaded,
    StateError,
    StateUnavailable,
    StoreUnavailable,
)
from polly_state.events import Mode, ModeChanged, Observer
from polly_state.keyspace import Keyspace
from polly_state.retry import until_done
from polly_state.store.base import REMOTE, Ack, Answer, Origin, apply_current, from_redis
from polly_state.store.journal import MemoryJournal
from polly_state.store.redis import RedisStore, decoded
from polly_state.store.replay import Replay

__all__ = ["Circuits", "ResilientStore"]

_log = logging.getLogger("polly_state")

T = TypeVar("T")

BATCH = 200
REPLAY_JITTER = 0.1
REPLAY_PAUSE = 0.05
REPLAY_PAUSE_CAP = 0.5
CONNECTED = Mode.CONNECTED


class Circuit(Protocol):
    """One circuit of a breaker."""

    reason: str

    @property
    def closed(self) -> bool:
        """Whether commands are let through."""
        ...


class Circuits(Protocol):
    """What decides about the mode."""

    fault: ConfigurationError | None
    on_change: list[Callable[[], None]]

    @property
    def link(self) -> Circuit:
        """Whether Redis answers."""
        ...

    @property
    def write(self) -> Circuit:
        """Whether Redis takes writes."""
        ...

    def refusal(self) -> StateError:
        """The error for a command that is not let through."""
        ...


class ResilientStore:
    """Wraps a `RedisStore` with a mirror of what was last seen and a journal of what is still to be written.

    No call waits for a Redis that is known to be away. A key with pending writes is answered from here, or its writes
    are replayed first, so that nobody reads an older value than the one they wrote.
    """

    def __init__(
        self,
        redis: RedisStore,
        circuits: Circuits,
        mirror: Keyspace,
        journal: MemoryJournal,
        *,
        observe: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.mode = CONNECTED
        self.clock = redis.clock
        self._redis = redis
        self._send_words = redis.send_words
        self._circuits = circuits
        self._mirror = mirror
        self._journal = journal
        self._observe = observe
        self._replay = Replay(redis, journal, mirror, observe)
        self._monotonic = clock
        self._since = clock()
        self._replaying: asyncio.Task[None] | None = None
        circuits.on_change.append(self._judge)

    @property
    def pending(self) -> int:
        """How many writes wait for Redis."""
        return len(self._journal)

    async def execute(self, command: Command[T], require: Ack = Ack.LOCAL_VOLATILE) -> Answer[T]:
        """See `Store`."""
        if self.mode is not CONNECTED and not await self._passable(command):
            return self._locally(command, require, None)
        if require > REMOTE:
            self._redis.check(require)
        # One coroutine less on every command's way than with `RedisStore.execute`.
        try:
            try:
                reply = await self._send_words(command.encode())
            except StoreUnavailable as error:
                reply = await self._redis.send_again(command, error)
            value = (
                decoded(command, reply)
                if reply.__class__ is not ReplyError
                else await self._redis.settle(command, reply)
            )
        except Overloaded:
            # Not an outage: too much is asked for here, and more in the journal would make it worse.
            raise
        except StoreUnavailable as error:
            return self._locally(command, require, error)
        if self.mode is not CONNECTED and command.key in self._journal:
            # Written here while the reply was on its way: the reply is older than that.
            return self._locally(command, require, None) if command.effect is Effect.READ else from_redis(value)
        try:
            command.learn(self._mirror, value)
        except (LocalStoreFull, CommandRejected):
            # Redis has done its part; what does not fit in here is not known here.
            self._mirror.forget(command.key)
        return from_redis(value)

    async def execute_many(self, commands: Iterable[Command[Any]]) -> list[Answer[Any]]:
        """See `Store`."""
        return await asyncio.gather(*(self.execute(command) for command in commands))

    async def aclose(self, patience: float) -> None:
        """End the replay after *patience* seconds at most; what is still pending then is lost with this process."""
        if self._replaying is not None:
            if self.mode is Mode.RECOVERING:
                await asyncio.wait((self._replaying,), timeout=patience)
            self._replaying.cancel()
            await asyncio.gather(self._replaying, return_exceptions=True)
        if len(self._journal):
            _log.warning("closed with %d writes that never reached Redis", len(self._journal))

    async def _passable(self, command: Command[Any]) -> bool:
        if self.mode is Mode.MISCONFIGURED:
            raise self._circuits.refusal()
        if self.mode is Mode.READ_ONLY:
            return command.effect is Effect.READ and command.key not in self._journal
        if self.mode is Mode.RECOVERING and command.key in self._journal:
            with suppress(StoreUnavailable):
                await self._send(self._journal.pending(command.key))
            return command.key not in self._journal
        return self.mode is not Mode.DEGRADED

    def _locally(self, command: Command[T], require: Ack, cause: StoreUnavailable | None) -> Answer[T]:
        if require > self._journal.ack or command.effect in (Effect.CLAIM, Effect.EPHEMERAL):
            self._refuse(cause)
        if not command.answerable(self._mirror):
            if cause is not None and cause.maybe_applied and command.effect is not Effect.READ:
                # It may have run: whoever tries again must know.
                raise cause
            raise StateUnavailable(
                "Redis is away, and the answer depends on a value that this process has not seen"
            ) from cause
        pending = command.key in self._journal
        if command.effect is Effect.READ:
            return self._recall(command, pending=pending)
        self._journal.check_room(command)
        command, value = apply_current(command, self._mirror, self.clock)
        self._journal.record(command.settled(value, self.clock.stamp()))
        if command.key in self._journal:
            self._mirror.pin(command.key)
        self._judge()
        return Answer(value, Origin.JOURNAL, self._journal.ack)

    def _recall(self, command: Command[T], *, pending: bool) -> Answer[T]:
        value = command.apply(self._mirror)
        entry = self._mirror.entry(command.key)
        age = 0.0 if entry is None else self._mirror.now() - entry.learned_at
        return Answer(value, Origin.JOURNAL if pending else Origin.MIRROR, self._journal.ack, age)

    def _refuse(self, cause: StoreUnavailable | None) -> NoReturn:
        if cause is not None:
            raise cause
        circuit = self._circuits.write if self._circuits.link.closed else self._circuits.link
        raise CircuitOpen(f"Redis is away ({circuit.reason}), and nothing local will do")

    def _judge(self) -> None:
        mode, reason = self._judgement()
        if mode is Mode.RECOVERING and (self._replaying is None or self._replaying.done()):
            self._replaying = asyncio.create_task(self._replay_all(), name="polly_state replay")
        if mode is self.mode:
            return
        now = self._monotonic()
        event = ModeChanged(self.mode, mode, reason, now - self._since)
        self.mode, self._since = mode, now
        self._observe(event)

    def _judgement(self) -> tuple[Mode, str]:
        circuits = self._circuits
        if circuits.fault is not None:
            return Mode.MISCONFIGURED, str(circuits.fault)
        if not circuits.link.closed:
            return Mode.DEGRADED, circuits.link.reason
        if not circuits.write.closed:
            return Mode.READ_ONLY, circuits.write.reason
        if len(self._journal):
            return Mode.RECOVERING, f"{len(self._journal)} writes to replay"
        return CONNECTED, "Redis answers"

    async def _replay_all(self) -> None:
        # Many processes see the same recovery: they do not all begin at once.
        await asyncio.sleep(random.uniform(0, REPLAY_JITTER))
        await until_done(self._replay_batches, expected=(StoreUnavailable, ConfigurationError), delay=replay_pause)

    async def _replay_batches(self) -> None:
        while self.mode is Mode.RECOVERING and (batch := self._journal.batch(BATCH)):
            await self._send(batch)

    async def _send(self, commands: list[Command[Any]]) -> None:
        try:
            await self._replay.send(commands)
        finally:
            self._judge()


def replay_pause(failures: int) -> float:
    """Seconds until an interrupted replay goes on."""
    return min(REPLAY_PAUSE * 2.0**failures, REPLAY_PAUSE_CAP)
