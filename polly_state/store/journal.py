"""The journal: durable writes that Redis does not have yet."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from polly_state.commands import Command
from polly_state.errors import LocalStoreFull
from polly_state.stamps import time_of
from polly_state.store.base import Ack

__all__ = [
    "MAX_DEAD",
    "TOLD_FOR",
    "DeadRow",
    "Journal",
    "JournalBusy",
    "JournalStatistics",
    "Row",
    "full",
    "prolonged",
    "weight",
]

ROW_OVERHEAD = 200
MAX_DEAD = 1000
#: Seconds for which what is only told stays: who has not looked for half of that may have missed it.
TOLD_FOR = 60.0


class JournalBusy(Exception):
    """Another process is writing at this moment; nothing was done."""


class Row(NamedTuple):
    """One kept write."""

    number: int
    """Rises with every write to the journal."""
    recorded_at: float
    """Seconds since the epoch, by Redis' clock."""
    command: Command[Any]


class DeadRow(NamedTuple):
    """A kept write that was given up."""

    row: Row
    code: str
    """What Redis said, or TOO_OLD."""
    died_at: float


class JournalStatistics(NamedTuple):
    """How full a journal is."""

    entries: int
    bytes: int
    dead: int
    """How many writes were given up, also those that are kept apart no longer."""


class Journal(Protocol):
    """Keeps absolute commands, one for each slot of a key, in which a later write takes the place of an earlier one.

    Bounded: at the bound a new row is refused with `LocalStoreFull`, and none is dropped. Whatever changes it may raise
    `JournalBusy` if it is *shared*, and `StoreUnavailable` if it cannot be used.
    """

    ack: Ack
    shared: bool
    """Whether other processes write to it."""

    def __len__(self) -> int:
        """How many writes are kept."""
        ...

    def __contains__(self, key: str) -> bool:
        """Whether any is kept for *key*."""
        ...

    def pending(self, key: str) -> list[Row]:
        """What is kept for *key*, oldest first."""
        ...

    def batch(self, size: int, passing: Collection[str] = ()) -> list[Row]:
        """About *size* rows, oldest first, *passing* over these keys; the rows of one key are in their order."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """A context in which `record` may be called, and after which all of it is kept, or after an error nothing."""
        ...

    def record(self, commands: Iterable[Command[Any]], now: float) -> None:
        """Keep absolute commands, given at *now*, until they are settled."""
        ...

    def settle(self, rows: Iterable[Row]) -> None:
        """Redis has these; what took their place meanwhile stays."""
        ...

    def bury(self, row: Row, code: str, now: float) -> None:
        """Give up a row, and keep it apart, until newer ones need the room."""
        ...

    def forget(self, before: float) -> None:
        """Drop what was recorded *before*: it was wiped on purpose."""
        ...

    def stirred(self) -> bool:
        """Whether anything may have been written since the last `news`; quick."""
        ...

    def news(self) -> list[Row]:
        """The rows written since the last time, by whomever, oldest first."""
        ...

    def lease_replay(self, holder: str) -> bool:
        """Whether the replay is the *holder*'s for the next moment: one process at a time need do it."""
        ...

    def statistics(self) -> JournalStatistics:
        """How full it is."""
        ...

    def upkeep(self, now: float | None) -> None:
        """Tidy up; blocks, so not on an event loop. With *now* the journal is the only keeper and drops what ended."""
        ...

    def close(self) -> None:
        """Let go of it; blocks."""
        ...


def full(entries: int, size: int, max_entries: int, max_bytes: int) -> None:
    """Raises `LocalStoreFull` over a bound."""
    if entries > max_entries:
        raise LocalStoreFull(
            f"{max_entries} writes wait for Redis already; it must return, or journal_entries be raised"
        )
    if size > max_bytes:
        raise LocalStoreFull("the journal has no bytes left; Redis must return, or journal_bytes be raised")


def prolonged(ends: float | None, later: Iterable[tuple[str, float]]) -> float | None:
    """When a key ends that one write lets end at *ends*, after *later* ones, of which stamp and end are given.

    The newest settles it, except of what had ended before.
    """
    for stamp, at in sorted(later):
        if ends is None or ends > time_of(stamp):
            ends = at
    return ends


def weight(command: Command[Any]) -> int:
    """About how many bytes *command* takes."""
    size = ROW_OVERHEAD
    for name in command.__dataclass_fields__:
        value = getattr(command, name)
        kind = value.__class__
        if kind is bytes or kind is str:
            size += len(value)
        elif kind is dict:
            size += sum(len(field) + (len(part) if part.__class__ is bytes else 0) for field, part in value.items())
    return size
