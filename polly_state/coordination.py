"""Coordination: the handles by which tasks and processes keep out of each other's way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from polly_state.services import Limits
from polly_state.structures import Binding, Limiter, Structure

if TYPE_CHECKING:
    from polly_state.commands import OnOutage, Quota, Rule
    from polly_state.settings import Settings
    from polly_state.structures import Ttl

__all__ = ["Coordination"]

S = TypeVar("S", bound=Structure)


class Coordination:
    """The part of `PollyState` that makes them."""

    settings: Settings

    def __init__(self) -> None:
        self.limits = Limits(self.limiter)

    def limiter(self, name: str, *rules: Rule | Quota, on_outage: OnOutage = "share") -> Limiter:
        """Limits under ids of your own, each with all of the rules; raises `ValueError` as `map` does."""
        declared = (rules, on_outage)
        return self._handle(
            Limiter, name, declared, None, lambda binding: Limiter(binding, rules, on_outage, lambda: self.processes)
        )

    @property
    def processes(self) -> int:
        """How many processes share the limits while Redis is away, as far as is known."""
        return self.settings.processes or 1

    def _handle(self, kind: type, name: str, declared: Any, ttl: Ttl | None, make: Callable[[Binding], S]) -> S:
        raise NotImplementedError
