"""What every command is: one operation on one key, with its form for Redis and its effect in process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, dataclass_transform

from polly_state.commands.script import Script
from polly_state.stamps import time_of
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = [
    "Command",
    "Effect",
    "Outdated",
    "Script",
    "Stamped",
    "command",
    "companion",
    "ended",
    "load_scripts",
    "milliseconds",
    "outlived",
    "stamp_of",
]

T = TypeVar("T")
C = TypeVar("C")


class Outdated(Exception):
    """A stamped write came after a newer one, whose *stamp* this is; nothing newer was changed."""

    def __init__(self, stamp: str) -> None:
        super().__init__(stamp)
        self.stamp = stamp


class Effect(Enum):
    """What a command does to the data, which settles retry, journal and merge."""

    READ = "read"
    DURABLE = "durable"
    CACHE = "cache"
    EPHEMERAL = "ephemeral"
    CLAIM = "claim"
    """Answered by Redis or not at all."""
    HOLD = "hold"
    """A claim under a token of its own, by which Redis knows it again."""
    LIMIT = "limit"
    """Never repeated; while Redis is away a command answers `alone`."""

    #: Whether sending the command twice is the same as sending it once.
    repeatable: bool

    def __init__(self, word: str) -> None:
        self.repeatable = word in ("read", "durable", "hold")


@dataclass_transform(frozen_default=True)
def command(kind: type[C]) -> type[C]:
    """Make a slotted dataclass of a kind of command; `Command` has what those have in common.

    It is frozen to type checkers only: at run time that would double the cost of each command, and of importing them.
    """
    return dataclass(slots=True, eq=False, repr=False)(kind)


@command
class Command(Generic[T]):
    """One operation on one key, as data; keys beside it share its hash tag.

    `encode` and `apply` are two forms of the same thing: random sequences of commands give equal results on Redis and
    on a `Keyspace`.
    """

    effect: ClassVar[Effect]
    script: ClassVar[Script | None] = None
    sweeps: ClassVar[bool] = False
    """Whether it makes everything moot that was written to the key before."""
    cumulative: ClassVar[bool] = False
    """Whether the next one on its slot has to tell of it, also after it has ended."""
    told: ClassVar[bool] = False
    """Whether processes that hold values of their own have to hear of it, soon and once."""

    key: str

    def __repr__(self) -> str:
        # Keys and contents are the users' own: they are in no log and no message.
        return f"<{type(self).__name__}>"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(
            getattr(self, each.name) == getattr(other, each.name) for each in fields(self)
        )

    def __hash__(self) -> int:
        return hash((type(self), self.key))

    def encode(self) -> Words:
        """The words for Redis; for a script, its digest stands first."""
        raise NotImplementedError

    def decode(self, reply: Reply) -> T:
        """The result, from Redis' reply, which is not an error."""
        raise NotImplementedError

    def apply(self, keyspace: Keyspace) -> T:
        """The same effect and result on a local keyspace."""
        raise NotImplementedError

    def answerable(self, keyspace: Keyspace) -> bool:
        """Whether a mirror knows enough to give the true result."""
        return True

    def learn(self, keyspace: Keyspace, result: T) -> None:
        """Take what Redis answered into a mirror."""
        self.apply(keyspace)

    def alone(self, keyspace: Keyspace) -> T:
        """The result of a `LIMIT` while Redis is away; *keyspace* is the mirror."""
        raise NotImplementedError

    def call(self, *arguments: str | bytes | int) -> Words:
        """The words of a call of the command's script, on its key and the companion."""
        assert self.script is not None, "only commands with a script are called"  # noqa: S101
        return ("EVALSHA", self.script.digest, 2, self.key, companion(self.key), *arguments)

    def call_alone(self, *arguments: str | bytes | int) -> Words:
        """The words of a call of the command's script, on its key alone."""
        assert self.script is not None, "only commands with a script are called"  # noqa: S101
        return ("EVALSHA", self.script.digest, 1, self.key, *arguments)

    def settled(self, result: T, stamp: str) -> tuple[Command[Any], ...]:
        """What to send to Redis later, when this was answered locally with *result*.

        Each part concerns one `slot` and says what to set, not what to change: a relative command becomes an absolute
        one under the new *stamp*.
        """
        return ()

    def supersedes(self, other: Command[Any]) -> bool:
        """Whether this makes *other*, on the same slot and given earlier, moot."""
        return True

    def replacing(self, other: Command[Any]) -> Command[T]:
        """The same, for a Redis that never got *other*, which this supersedes."""
        return self

    def merged(self, pending: Iterable[Command[Any]]) -> Command[T]:
        """The same, for several writers whose only keeper is a journal, with *pending* for the key."""
        return self

    @property
    def keeps(self) -> int | None:
        """How many slots of the key there are at most after this, the newest; None for any number."""
        return None

    @property
    def tombstone(self) -> bool:
        """Whether nothing is left in its slot after this."""
        return False

    @property
    def expires_at(self) -> float | None:
        """When the key is to end after this, in seconds since the epoch; None if that is not for this to say."""
        return None

    def ending(self, expires_at: float) -> Command[T]:
        """The same, for a key that is to end then."""
        return self

    def late(self, now: float) -> Command[T]:
        """The same, for a keyspace that only learns of it *now*, in seconds since the epoch."""
        return self

    @property
    def slot(self) -> str:
        """The part of the key that the command writes; a later command on the same slot makes an earlier one moot."""
        return ""


@command
class Stamped(Command[T]):
    """A durable write that Redis carries out at most once, and never over a newer one."""

    effect = Effect.DURABLE

    stamp: str

    def supersedes(self, other: Command[Any]) -> bool:
        return self.stamp >= stamp_of(other)

    def restamped(self, stamp: str) -> Self:
        """The same write, newer: for a caller who is still waiting and was overtaken."""
        return replace(self, stamp=stamp)

    @property
    def expires_at(self) -> float | None:
        ttl: float | None = getattr(self, "ttl", None)
        return None if ttl is None else time_of(self.stamp) + ttl

    def ending(self, expires_at: float) -> Self:
        return self._living(expires_at - time_of(self.stamp))

    def late(self, now: float) -> Command[T]:
        return self if self.expires_at is None else self._living(max(0.0, self.expires_at - now))

    def _living(self, ttl: float) -> Self:
        # Kinds without a ttl never end, and are as they were.
        return replace(self, ttl=ttl) if hasattr(self, "ttl") else self  # type: ignore[call-arg]


def stamp_of(command: Command[Any]) -> str:
    """The stamp of *command*, or nothing, which is before all stamps."""
    return command.stamp if isinstance(command, Stamped) else ""


def ended(command: Command[Any], stamp: str) -> bool:
    """Whether the key, as *command* would have it, had ended when *stamp* was given out."""
    ends = command.expires_at
    return ends is not None and ends <= time_of(stamp)


def outlived(command: Command[Any], stamp: str) -> bool:
    """Whether *command* is moot for a key that was written to again at *stamp*, since all it wrote had ended."""
    return bool(stamp) and ended(command, stamp) and not command.tombstone and not command.cumulative


def load_scripts(kind: type[Command[Any]] | None = None) -> None:
    """Read the files of all scripts, or those under *kind*, now, for whoever must not read files later."""
    for each in (Command if kind is None else kind).__subclasses__():
        _ = each.script and each.script.digest
        load_scripts(each)


def companion(key: str) -> str:
    """The hash beside *key* that holds its stamps: ``ns:~m:family:{id}``, in the same slot."""
    namespace, _, rest = key.partition(":")
    return f"{namespace}:~m:{rest}"


def milliseconds(seconds: float | None) -> int | str:
    """For the wire: at least one millisecond, and nothing for None."""
    return "" if seconds is None else max(1, round(seconds * 1000))
