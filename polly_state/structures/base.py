"""What the structures share: a family of keys in a store, and how long its values live."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from polly_state.commands import MAX_COUNT, Command, Touch
from polly_state.errors import StateUnavailable
from polly_state.events import Event, Observer
from polly_state.store import Ack, Origin, Store
from polly_state.store.channels import Channels
from polly_state.structures.keys import Family, Id

__all__ = ["MAX_FIELD_NAME", "Binding", "Read", "Structure", "Ttl", "field_name", "needed", "positive", "seconds"]

T = TypeVar("T")

Ttl: TypeAlias = float | timedelta
"""Seconds, or a timedelta."""

MIN_TTL: Final = 0.001
MAX_FIELD_NAME: Final = 512
MAX_TTL: Final = 10 * 365 * 86_400.0


class Read(NamedTuple, Generic[T]):
    """A value, with the truth about it."""

    value: T
    origin: Origin
    age: float
    """Seconds since it was known to be so; 0 from Redis."""

    @property
    def stale(self) -> bool:
        """Whether Redis may hold a newer one."""
        return self.origin in (Origin.MIRROR, Origin.DEFAULT)


def ignore(event: Event) -> None:
    """Tell nobody."""


class Binding(NamedTuple):
    """Where a structure lives: a store, a family of keys, and a time to live in seconds, None for good."""

    store: Store
    family: Family
    ttl: float | None
    max_value_bytes: int
    channels: Channels | None = None
    """Where others tell of what they do; None for this process alone."""
    observe: Observer = ignore


class Structure:
    """A typed handle on one family; it holds no state of its own."""

    def __init__(self, binding: Binding) -> None:
        self._store = binding.store
        self._family = binding.family
        self._key = binding.family.key
        self._ttl = binding.ttl
        self._channels = Channels() if binding.channels is None else binding.channels

    async def _ack(self, command: Command[Any], require: Ack) -> Ack:
        return (await self._store.execute(command, require)).ack

    async def _read(self, command: Command[T], default: T) -> Read[T]:
        try:
            answer = await self._store.execute(command)
        except StateUnavailable:
            return Read(default, Origin.DEFAULT, 0.0)
        return Read(answer.value, answer.origin, answer.age)

    async def _touch(self, id: Id) -> bool:
        if self._ttl is None:
            raise ValueError("what is in this family does not expire; declare it with a ttl")
        return (await self._store.execute(Touch(self._key(id), self._stamp(), self._ttl))).value

    def _stamp(self) -> str:
        return self._store.clock.stamp()


def seconds(ttl: Ttl | None) -> float | None:
    """A time to live in seconds. Raises `ValueError` unless it is from 1 ms to 10 years, `TypeError` if no number."""
    if ttl is None:
        return None
    if isinstance(ttl, timedelta):
        ttl = ttl.total_seconds()
    if isinstance(ttl, bool) or not isinstance(ttl, (int, float)):
        raise TypeError(f"a ttl is a number of seconds or a timedelta, not {type(ttl).__name__}")
    if not MIN_TTL <= ttl <= MAX_TTL:
        raise ValueError("a ttl must be from 0.001 seconds to 10 years; leave it out for a value that stays")
    return float(ttl)


def needed(ttl: Ttl, message: str) -> float:
    """A time to live in seconds, where there must be one. Raises as `seconds`, and `TypeError` for None."""
    lifetime = seconds(ttl)
    if lifetime is None:
        raise TypeError(message)
    return lifetime


def positive(count: int, most: int = MAX_COUNT) -> int:
    """A number of things as it is. Raises `TypeError`, or `ValueError` unless it is from 1 to *most*."""
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"a number of things is an int, not {type(count).__name__}")
    if not 1 <= count <= most:
        raise ValueError(f"a number of things must be from 1 to {most}")
    return count


def field_name(name: str) -> str:
    """A field's name as it is. Raises `TypeError` or `ValueError` for one that cannot be used."""
    if not isinstance(name, str):
        raise TypeError(f"a field's name is a str, not {type(name).__name__}")
    if not 0 < len(name) <= MAX_FIELD_NAME:
        raise ValueError(f"a field's name must have 1 to {MAX_FIELD_NAME} characters")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValueError("a field's name must be encodable as UTF-8") from error
    return name
