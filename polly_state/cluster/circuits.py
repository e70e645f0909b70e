"""The circuits of a whole Cluster, as whoever decides about the mode sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from polly_state.connection import ConnectionManager
from polly_state.connection.breaker import CircuitBreaker
from polly_state.connection.circuits import Circuits
from polly_state.errors import CircuitOpen, ConfigurationError, StateError

__all__ = ["ClusterCircuits"]

UNKNOWN = "no server of the Cluster was reached yet"


class Together(NamedTuple):
    """One kind of circuit on all servers."""

    closed: bool
    reason: str


class ClusterCircuits:
    """Closed while any server's are: what one server refuses is answered locally, command by command."""

    def __init__(self, nodes: Mapping[Any, ConnectionManager]) -> None:
        self.found: ConfigurationError | None = None
        """Why no server lets us in, if not even the topology is known."""
        self.on_change: list[Callable[[], None]] = []
        """Called, in order, after a circuit of any server has changed, or the servers have."""
        self._nodes = nodes

    @property
    def fault(self) -> ConfigurationError | None:
        """See `Circuits`; that of any server, since they all have the same users."""
        return self.found or next((each.fault for each in self._each() if each.fault is not None), None)

    @property
    def link(self) -> Together:
        """Whether any server answers."""
        return _together([each.link for each in self._each()])

    @property
    def write(self) -> Together:
        """Whether any server takes writes."""
        return _together([each.write for each in self._each()])

    def refusal(self) -> StateError:
        """The error for a command that no server can be given."""
        fault = self.fault
        return CircuitOpen(self.link.reason or UNKNOWN) if fault is None else type(fault)(*fault.args)

    def changed(self) -> None:
        """Tell everybody."""
        for listener in self.on_change:
            listener()

    def _each(self) -> list[Circuits]:
        return [node.circuits for node in self._nodes.values()]


def _together(circuits: list[CircuitBreaker]) -> Together:
    open_ones = [each for each in circuits if not each.closed]
    if len(open_ones) == len(circuits):
        return Together(closed=False, reason=open_ones[0].reason if open_ones else UNKNOWN)
    return Together(closed=True, reason="")
