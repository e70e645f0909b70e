"""The two circuits of one Redis, *link* and *write*, and the configuration fault that outranks both."""

from __future__ import annotations

from collections.abc import Callable

from polly_state.connection.breaker import CircuitBreaker, CircuitState, Happening
from polly_state.errors import CircuitOpen, ConfigurationError, StateError, StoreUnavailable
from polly_state.events import CircuitChanged, Observer
from polly_state.settings import BreakerSettings

__all__ = ["Circuits"]


class Circuits:
    """Decides whether commands may go to Redis at all; whoever hangs on it is told of every change."""

    def __init__(self, settings: BreakerSettings, observe: Observer) -> None:
        self.link = CircuitBreaker("link", settings)
        self.write = CircuitBreaker("write", settings)
        self.fault: ConfigurationError | None = None
        """Why every call raises, while Redis refuses the password or the certificate."""
        self.demoted = False
        """Whether the server is a replica now, so that a new connection may lead to another one."""
        self.on_change: list[Callable[[], None]] = []
        """Called, in order, after a circuit has changed."""
        self._observe = observe

    @property
    def settled(self) -> bool:
        """Whether nothing is to be probed."""
        states = (self.link.state, self.write.state)
        return all(state in (CircuitState.CLOSED, CircuitState.ISOLATED) for state in states)

    def refusal(self) -> StateError:
        """The error for a command that is not let through."""
        if self.fault is not None:
            return type(self.fault)(*self.fault.args)
        if self.link.closed:
            return StoreUnavailable("not connected to Redis")
        return CircuitOpen(f"the link circuit is {self.link.state.value}: {self.link.reason}")

    def trip(self, reason: str, *, generation: int | None = None) -> None:
        """Redis does not answer: open the link circuit, without counting."""
        if self.link.trip(self.link.generation if generation is None else generation, reason):
            self.changed(self.link)

    def failed(self, generation: int, reason: str, count: int = 1) -> None:
        """Redis did not answer *count* commands; the link circuit opens if that is too many."""
        if self.link.failed(generation, reason, count):
            self.changed(self.link)

    def refuse_writes(self, reason: str, *, demoted: bool = False) -> None:
        """Redis answers, and takes no writes; *demoted* if it is a replica."""
        self.demoted |= demoted
        if self.write.happen(Happening.TRIPPED, reason):
            self.changed(self.write)

    def found(self, fault: ConfigurationError) -> None:
        """Redis answers, and will have nothing to do with us."""
        self.fault = fault
        if self.link.happen(Happening.FAULT_FOUND, str(fault)):
            self.changed(self.link)

    def isolate(self, reason: str) -> None:
        """Open the link circuit by hand; only `release` ends that."""
        if self.link.happen(Happening.ISOLATED, reason):
            self.changed(self.link)

    def release(self) -> None:
        """Let the canary find out how Redis is."""
        if self.link.happen(Happening.RELEASED):
            self.changed(self.link)

    def changed(self, circuit: CircuitBreaker) -> None:
        """Tell everybody."""
        self._observe(CircuitChanged(circuit.name, circuit.state.value, circuit.reason))
        for listener in self.on_change:
            listener()
