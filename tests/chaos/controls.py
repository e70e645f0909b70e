"""Controls: one safeguard switched off at a time, to show that the suite would notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polly_state.commands import Add, SetRegister
from polly_state.connection.breaker import CircuitBreaker, Happening


def switch_off(safeguard: str) -> None:
    """Take a *safeguard* from this process: stamps, totals or generations; the ring is a setting."""
    CONTROLS[safeguard]()


def stamps() -> None:
    """A register is a plain SET: what comes last stays, however old it is."""

    def encode(self: SetRegister) -> Any:
        return ("DEL", self.key) if self.content is None else ("SET", self.key, self.content)

    SetRegister.encode = encode  # type: ignore[method-assign]


def totals() -> None:
    """An addition is a plain INCRBY: each time it is sent, it counts."""

    def encode(self: Add) -> Any:
        return ("INCRBY", self.key, self.by)

    Add.encode = encode  # type: ignore[method-assign]


def generations() -> None:
    """The breaker takes every outcome for one of now."""
    failed, succeeded = CircuitBreaker.failed, CircuitBreaker.succeeded

    def failed_now(self: CircuitBreaker, generation: int, reason: str, count: int = 1) -> bool:
        return failed(self, self.generation, reason, count)

    def succeeded_now(self: CircuitBreaker, generation: int, count: int = 1) -> None:
        succeeded(self, self.generation, count)

    def trip(self: CircuitBreaker, generation: int, reason: str) -> bool:
        return self.happen(Happening.TRIPPED, reason)

    CircuitBreaker.failed = failed_now  # type: ignore[method-assign]
    CircuitBreaker.succeeded = succeeded_now  # type: ignore[method-assign]
    CircuitBreaker.trip = trip  # type: ignore[method-assign]


CONTROLS: dict[str, Callable[[], None]] = {
    "stamps": stamps,
    "totals": totals,
    "generations": generations,
    "ring": lambda: None,
}
