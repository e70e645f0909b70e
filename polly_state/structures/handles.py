"""Handles: who makes structures by name, as `PollyState` does."""

from __future__ import annotations

from typing import Protocol, TypeVar

from polly_state.structures.base import Ttl
from polly_state.structures.counters import Counters
from polly_state.structures.fields import Fields
from polly_state.structures.log import Log
from polly_state.structures.members import Members
from polly_state.structures.queue import Queue
from polly_state.structures.values import Values

__all__ = ["Handles"]

T = TypeVar("T")


class Handles(Protocol):
    """What services are built from."""

    def map(self, name: str, declared: type[T], *, ttl: Ttl | None = None) -> Values[T]:
        """Values under ids."""
        ...

    def fields(self, name: str, declared: type[T], *, ttl: Ttl | None = None) -> Fields[T]:
        """Mappings from names to values."""
        ...

    def counters(self, name: str, *, ttl: Ttl | None = None) -> Counters:
        """Integers to add to."""
        ...

    def log(self, name: str, declared: type[T], *, limit: int, ttl: Ttl | None = None) -> Log[T]:
        """The newest entries."""
        ...

    def members(self, name: str, declared: type[T], *, limit: int, ttl: Ttl) -> Members[T]:
        """Members that end one by one."""
        ...

    def queue(self, name: str, declared: type[T], *, ttl: Ttl | None = None) -> Queue[T]:
        """Messages in order."""
        ...
