"""Controls: one safeguard switched off at a time, to show that the suite would notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polly_state.commands import Add, SetRegister
from polly_state.connection import circuits
from polly_state.connection.breaker import CircuitBreaker


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


class Forgetful(CircuitBreaker):
    """A breaker that takes every outcome for one of now."""

    def succeeded(self, generation: int, count: int = 1) -> None:
        super().succeeded(self.generation, count)

    def failed(self, generation: int, reason: str, count: int = 1) -> bool:
        return super().failed(self.generation, reason, count)

    def trip(self, generation: int, reason: str) -> bool:
        return super().trip(self.generation, reason)


def generations() -> None:
    """Outcomes of before an outage count after it."""
    circuits.CircuitBreaker = Forgetful  # type: ignore[misc]


CONTROLS: dict[str, Callable[[], None]] = {
    "stamps": stamps,
    "totals": totals,
    "generations": generations,
    "ring": lambda: None,
}
