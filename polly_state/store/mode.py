"""The mode, as the circuits and the journal have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from polly_state.errors import ConfigurationError, StateError
from polly_state.events import Mode

__all__ = ["Circuits", "judgement"]


class Circuit(Protocol):
    """One circuit of a breaker."""

    @property
    def reason(self) -> str:
        """Why it is not."""
        ...

    @property
    def closed(self) -> bool:
        """Whether commands are let through."""
        ...


class Circuits(Protocol):
    """What decides about the mode."""

    on_change: list[Callable[[], None]]

    @property
    def fault(self) -> ConfigurationError | None:
        """Why every call raises, while Redis will have nothing to do with us."""
        ...

    @property
    def link(self) -> Circuit:
        """Whether Redis answers."""
        ...

    @property
    def write(self) -> Circuit:
        """Whether Redis takes writes."""
        ...

    def refusal(self) -> StateError:
        """The error for a command that is not let through."""
        ...


def judgement(circuits: Circuits, pending: int) -> tuple[Mode, str]:
    """The mode while so many writes wait for Redis, and why."""
    if circuits.fault is not None:
        return Mode.MISCONFIGURED, str(circuits.fault)
    if not circuits.link.closed:
        return Mode.DEGRADED, circuits.link.reason
    if not circuits.write.closed:
        return Mode.READ_ONLY, circuits.write.reason
    if pending:
        return Mode.RECOVERING, f"{pending} writes to replay"
    return Mode.CONNECTED, "Redis answers"
