"""The resilient store: Redis while it answers, what is known here while it does not, and back without loss."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from polly_state.commands import Command, Effect, SetFenced
from polly_state.connection import ReplyError
from polly_state.errors import (
    CircuitOpen,
    CommandRejected,
    LocalStoreFull,
    Overloaded,
    StateError,
    StateUnavailable,
    StoreUnavailable,
)
from polly_state.events import Mode, ModeChanged, Observer
from polly_state.retry import until_done
from polly_state.store.base import REMOTE, Ack, Answer, Origin, from_redis
from polly_state.store.journal import JournalBusy, Row
from polly_state.store.mode import Circuits, judgement
from polly_state.store.overlay import Overlay
from polly_state.store.redis import RedisStore, decoded
from polly_state.store.repair import Ring
from polly_state.store.replay import Replay

__all__ = ["ResilientStore"]

_log = logging.getLogger("polly_state")

T = TypeVar("T")

REPLAY_JITTER = 0.1
REPLAY_PAUSE = 0.05
REPLAY_PAUSE_CAP = 0.5
CONNECTED, DURABLE = Mode.CONNECTED, Effect.DURABLE
#: What only Redis can answer.
ALOUD = frozenset((Effect.CLAIM, Effect.HOLD, Effect.EPHEMERAL))


class ResilientStore:
    """Wraps a `RedisStore` with a mirror of what was last seen and a journal of what is still to be written.

    No call waits for a Redis that is known to be away. A key with pending writes is answered from here, or its writes
    are replayed first, so that nobody reads an older value than the one they wrote.
    """

    def __init__(
        self,
        redis: RedisStore,
        circuits: Circuits,
        overlay: Overlay,
        ring: Ring,
        *,
        observe: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.mode = CONNECTED
        self.clock = redis.clock
        self.replay = Replay(redis, overlay, ring, observe)
        self._redis = redis
        self._send_words = redis.send_words
        self._circuits = circuits
        self._overlay = overlay
        self._mirror = overlay.keyspace
        self._journal = overlay.journal
        self._shared = overlay.journal.shared
        self._ring = ring
        self._observe = observe
        self._monotonic = clock
        self._since = clock()
        self._pending = self._answered = 0
        self._replaying: asyncio.Task[None] | None = None
        circuits.on_change.append(self._judge)

    async def execute(  # noqa: C901 - the way of every command, on which each further call would be felt
        self, command: Command[T], require: Ack = Ack.LOCAL_VOLATILE
    ) -> Answer[T]:
        """See `Store`."""
        if self._shared and self._journal.stirred():
            self.look()
        if self.mode is not CONNECTED and not await self._passable(command):
            return await self._locally(command, require, None)
        if require > REMOTE:
            return await self._redis.replicated(command, self.execute)
        # One coroutine less on every command's way than with `RedisStore.execute`.
        try:
            try:
                reply = await self._send_words(command.encode())
            except StoreUnavailable as error:
                reply = await self._redis.send_again(command, error)
            if reply.__class__ is ReplyError:
                command, value = await self._redis.settle(command, reply)
            else:
                value = decoded(command, reply)
        except Overloaded:
            # Not an outage: too much is asked for here, and more in the journal would make it worse.
            raise
        except StoreUnavailable as error:
            return await self._locally(command, require, error)
        if command.effect is DURABLE:
            self._ring.note(command, value)
        if self.mode is not CONNECTED and command.key in self._journal:
            return await self._outrun(command, require, value)
        try:
            command.learn(self._mirror, value)
        except (LocalStoreFull, CommandRejected):
            # Redis has done its part; what does not fit in here is not known here.
            self._mirror.forget(command.key)
        return from_redis(value)

    async def execute_many(self, commands: Iterable[Command[Any]]) -> list[Answer[Any]]:
        """See `Store`."""
        return await asyncio.gather(*(self.execute(command) for command in commands))

    def look(self) -> None:
        """Take in what other processes have left in the journal, or taken from it."""
        self._overlay.catch_up()
        self._judge()

    async def keep(self, commands: list[Command[Any]]) -> None:
        """Send to Redis what it may have lost. Raises `LocalStoreFull` if there is no room to do so."""
        await self._overlay.keep(commands)
        self._judge()

    async def wiped(self, before: float) -> None:
        """Everything was wiped on purpose then: what was kept *before*, in seconds since the epoch, is not sent."""
        await self._overlay.patiently(lambda: self._journal.forget(before))
        self._mirror.clear()
        self._overlay.reload()
        self._judge()

    async def aclose(self, patience: float) -> None:
        """End the replay after *patience* seconds at most; what is pending then stays in the journal."""
        if self._replaying is not None:
            if self.mode is Mode.RECOVERING:
                await asyncio.wait((self._replaying,), timeout=patience)
            self._replaying.cancel()
            await asyncio.gather(self._replaying, return_exceptions=True)
        pending = self.pending
        if pending:
            lost = "" if self._shared else ", which are lost"
            _log.warning("closed with %d writes that never reached Redis%s", pending, lost)

    @property
    def pending(self) -> int:
        """How many writes wait for Redis; as far as is known, while the journal cannot be asked."""
        with suppress(StateError, JournalBusy):
            self._pending = len(self._journal)
        return self._pending

    async def _passable(self, command: Command[Any]) -> bool:
        if self.mode is Mode.MISCONFIGURED:
            raise self._circuits.refusal()
        if self.mode is Mode.READ_ONLY:
            return command.effect is Effect.READ and command.key not in self._journal
        if self.mode is Mode.RECOVERING and command.key in self._journal:
            # With a full disk all stays in the journal, which then goes on answering for the key.
            with suppress(StoreUnavailable, LocalStoreFull):
                await self._send(self._journal.pending(command.key))
            return command.key not in self._journal
        return self.mode is not Mode.DEGRADED

    async def _locally(self, command: Command[T], require: Ack, cause: StoreUnavailable | None) -> Answer[T]:
        durable = command.effect is DURABLE
        ack = self._journal.ack if durable or command.effect is Effect.READ else Ack.LOCAL_VOLATILE
        if require > ack or command.effect in ALOUD or isinstance(command, SetFenced):
            self._refuse(cause)
        if command.effect is Effect.LIMIT:
            return Answer(command.alone(self._mirror), Origin.SHARE, ack)
        if self._shared and self._journal.stirred():
            self._overlay.catch_up()
        try:
            self._overlay.check(command)
        except StateUnavailable as unknown:
            if cause is not None and cause.maybe_applied and command.effect is not Effect.READ:
                # It may have run: whoever tries again must know.
                raise cause from None
            raise unknown from cause
        if command.effect is Effect.READ:
            self._answered += 1
            return self._recall(command, ack)
        value = await self._overlay.write(command)
        self._answered += 1
        self._judge()
        return Answer(value, Origin.JOURNAL, ack)

    async def _outrun(self, command: Command[T], require: Ack, value: T) -> Answer[T]:
        # Written here while the reply was on its way: the reply is older than that.
        return await self._locally(command, require, None) if command.effect is Effect.READ else from_redis(value)

    def _recall(self, command: Command[T], ack: Ack) -> Answer[T]:
        value = command.apply(self._mirror)
        entry = self._mirror.entry(command.key)
        age = 0.0 if entry is None else self._mirror.now() - entry.learned_at
        return Answer(value, Origin.JOURNAL if command.key in self._journal else Origin.MIRROR, ack, age)

    def _refuse(self, cause: StoreUnavailable | None) -> NoReturn:
        if cause is not None:
            raise cause
        circuit = self._circuits.write if self._circuits.link.closed else self._circuits.link
        raise CircuitOpen(f"Redis is away ({circuit.reason}), and nothing local will do")

    def _judge(self) -> None:
        mode, reason = judgement(self._circuits, self.pending)
        if mode is Mode.RECOVERING and (self._replaying is None or self._replaying.done()):
            self._replaying = asyncio.create_task(self._replay_all(), name="polly_state replay")
        if mode is self.mode:
            return
        if mode is CONNECTED:
            self._mirror.unpin_all()
        now = self._monotonic()
        event = ModeChanged(self.mode, mode, reason, now - self._since, self._answered)
        self.mode, self._since, self._answered = mode, now, 0
        self._observe(event)

    async def _replay_all(self) -> None:
        # Many processes see the same recovery: they do not all begin at once.
        await asyncio.sleep(random.uniform(0, REPLAY_JITTER))
        await until_done(self._replay_batches, expected=(StateError,), delay=replay_pause)

    async def _replay_batches(self) -> None:
        while self.mode is Mode.RECOVERING:
            try:
                await self.replay.send_batch()
            finally:
                self._judge()

    async def _send(self, rows: list[Row]) -> None:
        try:
            await self.replay.send(rows)
        finally:
            self._judge()


def replay_pause(failures: int) -> float:
    """Seconds until an interrupted replay goes on."""
    return min(REPLAY_PAUSE * 2.0**failures, REPLAY_PAUSE_CAP)
