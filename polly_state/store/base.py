"""The store seam: commands go in, answers that tell where they come from come out."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, IntEnum
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from polly_state.commands import Command, Outdated, Stamped
from polly_state.errors import CommandRejected
from polly_state.keyspace import Keyspace
from polly_state.stamps import HybridClock

__all__ = ["REMOTE", "Ack", "Answer", "Origin", "Store", "apply_current", "from_redis", "overtaken"]

T = TypeVar("T")


class Ack(IntEnum):
    """How well a write is kept; more is better."""

    LOCAL_VOLATILE = 1
    """In this process only, until it ends."""
    LOCAL_DURABLE = 2
    """On this host's disk."""
    REMOTE = 3
    """In Redis."""
    REPLICATED = 4
    """In Redis and its replicas."""


class Origin(Enum):
    """Where an answer comes from."""

    REDIS = "redis"
    NEAR = "near"
    """A cache of this process, which Redis tells of every change."""
    LOCAL = "local"
    """The local store, which is the authority: no Redis is configured."""
    JOURNAL = "journal"
    """A write of this process that Redis does not have yet."""
    MIRROR = "mirror"
    """What was last seen of Redis."""
    SHARE = "share"
    """This process' own share of a limit, while Redis is away."""
    DEFAULT = "default"
    """The caller's default: nothing is known."""


REDIS, REMOTE = Origin.REDIS, Ack.REMOTE


class Answer(NamedTuple, Generic[T]):
    """The result of a command, with the truth about it."""

    value: T
    origin: Origin
    ack: Ack
    """How well a write is kept; for a read, what a write would get from the same place."""
    age: float = 0.0
    """Seconds since this was known to be so; 0 from an authority."""


def from_redis(value: T) -> Answer[T]:
    """The answer that Redis itself has given; made without the detour over a NamedTuple's defaults."""
    return tuple.__new__(Answer, (value, REDIS, REMOTE, 0.0))


class Store(Protocol):
    """Carries out commands. Stores wrap one another; this is all they need to know of each other."""

    @property
    def clock(self) -> HybridClock:
        """Where the stamps of writes come from."""
        ...

    async def execute(self, command: Command[T], require: Ack = Ack.LOCAL_VOLATILE) -> Answer[T]:
        """Carry out one command.

        Args:
            command: What to do.
            require: The least acknowledgement that will do; a weaker outcome is refused, and nothing is written.

        Raises:
            StoreUnavailable: The outcome would be weaker than required, or nothing local can stand in.
            StateUnavailable: Redis is away and the answer depends on what is not known here.
            CommandRejected: The command cannot work on what is at its key.
        """
        ...

    async def execute_many(self, commands: Iterable[Command[Any]]) -> list[Answer[Any]]:
        """Carry out independent commands in one round trip; the answers come in their order."""
        ...


def apply_current(command: Command[T], keyspace: Keyspace, clock: HybridClock) -> tuple[Command[T], T]:
    """Apply a command of a caller who is still waiting, newer than whatever has overtaken it; what was applied."""
    try:
        return command, command.apply(keyspace)
    except Outdated as newer:
        if not clock.see(newer.stamp):
            raise overtaken() from None
    assert isinstance(command, Stamped)  # noqa: S101
    command = command.restamped(clock.stamp())
    return command, command.apply(keyspace)


def overtaken() -> CommandRejected:
    """The error for a write that comes after one from the future."""
    return CommandRejected("another writer's clock is far ahead; check the clocks of all hosts", code="OUTDATED")
