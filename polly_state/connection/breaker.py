"""The circuit breaker: a pure state machine that counts outcomes, does no I/O and never sleeps.

Two rules hold for this file. Everything that changes a state is in `TRANSITIONS`. And an outcome counts only for the
generation in which its command was let through: a late success closes nothing, a late failure opens nothing.
After the state machines of h11, and of Polly v8 with its late-success fault mended by generations.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from polly_state.errors import CircuitOpen
from polly_state.settings import BreakerSettings

__all__ = ["CircuitBreaker", "CircuitState", "Happening"]


class CircuitState(Enum):
    """Whether commands are let through."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"
    ISOLATED = "isolated"
    MISCONFIGURED = "misconfigured"


class Happening(Enum):
    """What can change the state."""

    TRIPPED = "tripped"
    PROBE_STARTED = "probe started"
    PROBE_SUCCEEDED = "probe succeeded"
    PROBE_FAILED = "probe failed"
    FAULT_FOUND = "configuration fault found"
    ISOLATED = "isolated by hand"
    RELEASED = "released by hand"


_S, _H = CircuitState, Happening

TRANSITIONS: Final[dict[CircuitState, dict[Happening, CircuitState]]] = {
    _S.CLOSED: {_H.TRIPPED: _S.OPEN, _H.FAULT_FOUND: _S.MISCONFIGURED, _H.ISOLATED: _S.ISOLATED},
    _S.OPEN: {
        _H.PROBE_STARTED: _S.PROBING,
        _H.FAULT_FOUND: _S.MISCONFIGURED,
        _H.ISOLATED: _S.ISOLATED,
    },
    _S.PROBING: {
        _H.PROBE_SUCCEEDED: _S.CLOSED,
        _H.PROBE_FAILED: _S.OPEN,
        _H.FAULT_FOUND: _S.MISCONFIGURED,
        _H.ISOLATED: _S.ISOLATED,
    },
    _S.MISCONFIGURED: {_H.PROBE_STARTED: _S.PROBING, _H.ISOLATED: _S.ISOLATED},
    _S.ISOLATED: {_H.RELEASED: _S.OPEN},
}


@dataclass(slots=True)
class Bucket:
    """The outcomes of one tenth of the window."""

    slice: int = -1
    successes: int = 0
    failures: int = 0


class CircuitBreaker:
    """One circuit. Closed it lets commands through and counts; else it refuses until a probe has succeeded."""

    def __init__(self, name: str, settings: BreakerSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.state = CircuitState.CLOSED
        self.generation = 0
        self.reason = ""
        self.since = clock()
        self._settings = settings
        self._clock = clock
        self._consecutive = 0
        self._buckets = [Bucket() for _ in range(10)]

    @property
    def closed(self) -> bool:
        """Whether commands are let through."""
        return self.state is CircuitState.CLOSED

    def admit(self) -> int:
        """The generation to report the outcome with. Raises `CircuitOpen` unless closed."""
        if self.state is not CircuitState.CLOSED:
            raise CircuitOpen(f"the {self.name} circuit is {self.state.value}: {self.reason}")
        return self.generation

    def succeeded(self, generation: int, count: int = 1) -> None:
        """Redis answered *count* commands, be it with an error of its own."""
        if generation == self.generation and self.closed:
            self._consecutive = 0
            self._bucket().successes += count

    def failed(self, generation: int, reason: str, count: int = 1) -> bool:
        """*count* commands met no answer; True if that opened the circuit."""
        if generation != self.generation or not self.closed:
            return False
        self._consecutive += count
        self._bucket().failures += count
        if self._consecutive < self._settings.consecutive_failures and not self._mostly_failing():
            return False
        return self.happen(Happening.TRIPPED, reason)

    def trip(self, generation: int, reason: str) -> bool:
        """Open at once, on evidence that needs no counting; True if that changed the state."""
        return generation == self.generation and self.happen(Happening.TRIPPED, reason)

    def happen(self, happening: Happening, reason: str = "") -> bool:
        """Go where `TRANSITIONS` leads; False if nothing leads on from here."""
        state = TRANSITIONS[self.state].get(happening)
        if state is None:
            return False
        self.state = state
        self.generation += 1
        self.since = self._clock()
        self.reason = reason or self.reason
        if state is CircuitState.CLOSED:
            self._consecutive = 0
            self._buckets = [Bucket() for _ in range(10)]
        return True

    def _bucket(self) -> Bucket:
        position = int(self._clock() * 10 / self._settings.window)
        bucket = self._buckets[position % 10]
        if bucket.slice != position:
            bucket.slice, bucket.successes, bucket.failures = position, 0, 0
        return bucket

    def _mostly_failing(self) -> bool:
        newest = self._bucket().slice
        live = [bucket for bucket in self._buckets if bucket.slice > newest - 10]
        failures = sum(bucket.failures for bucket in live)
        outcomes = failures + sum(bucket.successes for bucket in live)
        return outcomes >= self._settings.minimum_outcomes and failures >= outcomes * self._settings.failure_ratio
