"""The Redis store: commands go over the wire, or fail as `StoreUnavailable`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeVar

from polly_state.commands import Command, Outdated, Stamped
from polly_state.connection import REDIRECTIONS, ConnectionManager, ReplyError
from polly_state.connection.packing import pack
from polly_state.errors import CorruptValue, DeadlineExceeded, StoreUnavailable
from polly_state.stamps import HybridClock, is_stamp
from polly_state.store.base import Ack, Answer, from_redis, overtaken
from polly_state.wire import Reply, Words

__all__ = ["Connection", "RedisStore", "decoded"]

T = TypeVar("T")

MIN_LEAD, MAX_LEAD = 0.0005, 1.0
#: The part of a deadline for which a replica is waited for.
PATIENCE = 0.8
WAITED_MS = 1000


class Connection(Protocol):
    """What carries words to Redis, as `ConnectionManager` does."""

    deadline: float
    """Seconds for one call."""

    def send(self, words: Words) -> Awaitable[Reply]:
        """Send a command; its reply may be a `ReplyError`."""
        ...

    async def redirected(self, words: Words, reply: Reply) -> Reply:
        """The reply of the server that *reply* names, if it is one of `REDIRECTIONS`; else *reply*."""
        ...

    def node_of(self, words: Words) -> ConnectionManager:
        """The way to the server that these words go to."""
        ...


class RedisStore:
    """Strict: what Redis does not do, is not done. Wrap it in a `ResilientStore` for the rest."""

    def __init__(self, connection: Connection, clock: HybridClock) -> None:
        self.clock = clock
        self._connection = connection
        self.send_words = connection.send
        """The first step of `execute`, for who can spare its coroutine: `settle` the reply unless it is a plain one."""

    async def execute(self, command: Command[T], require: Ack = Ack.LOCAL_VOLATILE) -> Answer[T]:
        """See `Store`. A write that another one has overtaken is sent again with a newer stamp."""
        if require > Ack.REMOTE:
            return await self.replicated(command, self.execute)
        _, value = await self.settle(command, await self._call(command, command.encode()))
        return from_redis(value)

    async def execute_many(self, commands: Iterable[Command[Any]]) -> list[Answer[Any]]:
        """See `Store`."""
        return await asyncio.gather(*(self.execute(command) for command in commands))

    async def replicated(
        self, command: Command[T], execute: Callable[[Command[T], Ack], Awaitable[Answer[T]]]
    ) -> Answer[T]:
        """What *execute* makes of *command*, once a replica has it too.

        Raises `StoreUnavailable` if there is none, and then nothing was written, or if none says so in time.
        """
        node, deadline = self._connection.node_of(command.encode()), self._connection.deadline
        async with node.dedicated.lease(deadline) as link:
            replicas = await link.submit(pack(("WAIT", 0, 0)))
            if isinstance(replicas, ReplyError):
                raise StoreUnavailable("REPLICATED cannot be given: WAIT is refused") from node.refused(replicas)
            if not replicas:
                raise StoreUnavailable("REPLICATED cannot be given: the server has no replica now")
            answer = await execute(command, Ack.REMOTE)
            # WAIT is about what its own connection has written, and what was written before that.
            _, replicas = await asyncio.gather(
                link.submit(pack(("SET", waited(command.key), b"1", "PX", WAITED_MS))),
                link.submit(pack(("WAIT", 1, round(deadline * PATIENCE * 1000)))),
            )
            if isinstance(replicas, ReplyError) or not replicas:
                raise StoreUnavailable("it is written, but no replica has confirmed it in time", maybe_applied=True)
        return answer._replace(ack=Ack.REPLICATED)

    async def send_again(self, command: Command[Any], error: StoreUnavailable) -> Reply:
        """Make up for an *error* in sending *command*, if that is possible; else raise it."""
        return await self._send_again(command, command.encode(), error)

    async def settle(self, command: Command[T], reply: Reply) -> tuple[Command[T], T]:
        """The result, whatever it takes, and the command as Redis has carried it out."""
        if reply.__class__ is not ReplyError:
            return command, decoded(command, reply)
        try:
            async with asyncio.timeout(self._connection.deadline):
                return await self._overtake(command, reply)
        except TimeoutError as timeout:
            raise DeadlineExceeded("other writers were faster until the deadline", maybe_applied=True) from timeout

    async def attempt(self, command: Command[T]) -> T:
        """Send *command* as it stands. Raises `Outdated` if a newer write is there already."""
        return decoded(command, await self._plain(command, await self._call(command, command.encode())))

    async def _overtake(self, command: Command[T], reply: Reply) -> tuple[Command[T], T]:
        lead = MIN_LEAD
        while True:
            try:
                return command, decoded(command, await self._plain(command, reply))
            except Outdated as newer:
                assert isinstance(command, Stamped)  # noqa: S101
                # A clock a hair behind would be overtaken again and again, so the lead grows.
                lead *= random.uniform(1, 3)
                if not self.clock.see(newer.stamp, min(lead, MAX_LEAD)):
                    raise overtaken() from None
            command = command.restamped(self.clock.stamp())
            reply = await self._call(command, command.encode())

    async def _plain(self, command: Command[Any], reply: Reply) -> Reply:
        """A reply that is no error: of the server that has the slot, and with a script made known first."""
        words = command.encode()
        if isinstance(reply, ReplyError) and reply.code in REDIRECTIONS:
            reply = await self._connection.redirected(words, reply)
        if isinstance(reply, ReplyError) and reply.code == "NOSCRIPT" and command.script is not None:
            words = ("EVAL", command.script.source, *words[2:])
            reply = await self._connection.redirected(words, await self._call(command, words))
        if not isinstance(reply, ReplyError):
            return reply
        if reply.code == "OUTDATED":
            stamp = str(reply).rpartition(" ")[2]
            if not is_stamp(stamp):
                raise CorruptValue("the stamps beside the key are not ours; something else writes here")
            raise Outdated(stamp)
        raise self._connection.node_of(words).refused(reply)

    async def _call(self, command: Command[Any], words: Words) -> Reply:
        """The reply to *words*, one form of *command*; sent once more where that is safe."""
        try:
            return await self.send_words(words)
        except StoreUnavailable as error:
            return await self._send_again(command, words, error)

    async def _send_again(self, command: Command[Any], words: Words, error: StoreUnavailable) -> Reply:
        return await self._connection.node_of(words).send_again(words, error, repeatable=command.effect.repeatable)


def waited(key: str) -> str:
    """A key in the slot of *key* that is written for nothing but to be waited for."""
    namespace, _, rest = key.partition(":")
    return f"{namespace}:~waited:{rest}"


def decoded(command: Command[T], reply: Reply) -> T:
    """The result in a *reply* that is no error. Raises `CorruptValue`."""
    try:
        return command.decode(reply)
    except (ValueError, TypeError, AttributeError) as error:
        raise CorruptValue("Redis holds something here that this package did not write") from error
