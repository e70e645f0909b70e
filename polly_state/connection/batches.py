"""Batches: what left together, until when it may take, and how much of it is still on its way."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

__all__ = ["Batch", "Batches"]

#: Deadlines this close together, in seconds, are dealt with in one go.
SLACK: Final = 0.001


class Batch(NamedTuple):
    """Commands that left together, up to the one with the number *last*."""

    last: int
    deadline: float
    size: int


class Batches:
    """The batches in flight, oldest first. Commands are numbered as they are submitted; replies come in that order."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes submitted and not known to be answered."""
        self._batches: deque[Batch] = deque()

    @property
    def next_deadline(self) -> float | None:
        """When the oldest batch is due; None if there is none."""
        return self._batches[0].deadline if self._batches else None

    def add(self, last: int, deadline: float, size: int) -> None:
        """A batch has left; its *size* was counted as its commands came."""
        self._batches.append(Batch(last, deadline, size))

    def answered(self, count: int) -> None:
        """The first *count* commands of all have their replies."""
        batches = self._batches
        while batches and batches[0].last <= count:
            self.size -= batches.popleft().size

    def overdue(self, now: float) -> int:
        """Take out what is due: the number of the last such command, 0 if there is none."""
        last = 0
        while self._batches and self._batches[0].deadline <= now + SLACK:
            batch = self._batches.popleft()
            self.size -= batch.size
            last = batch.last
        return last

    def deadlines(self, answered: int) -> dict[int, float]:
        """The deadline of each command in flight, numbered from 0 after the *answered* ones."""
        by_number: dict[int, float] = {}
        first = 0
        for batch in self._batches:
            end = max(first, batch.last - answered)
            by_number.update(dict.fromkeys(range(first, end), batch.deadline))
            first = end
        return by_number
