"""What is counted on the way to Redis."""

from __future__ import annotations

from typing import NamedTuple

from polly_state.connection.breaker import CircuitState

__all__ = ["ConnectionStatistics"]


class ConnectionStatistics(NamedTuple):
    """A snapshot of the way to Redis."""

    address: str
    link: CircuitState
    write: CircuitState
    connections: int
    """Shared and dedicated connections made so far."""
    connected: bool
    in_flight: int
    commands: int
    overdue: int
    """Commands that passed their deadline so far."""
    retries: int
