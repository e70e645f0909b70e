"""The retry budget: lost connections may be made up for as long as most commands get through."""

from __future__ import annotations

from typing import Final

__all__ = ["RetryBudget"]

FULL: Final = 10.0
REFILL: Final = 0.1


class RetryBudget:
    """A bucket of ten tokens; a lost connection takes one, ten replies give one back. After gRPC's retry throttling."""

    def __init__(self) -> None:
        self._tokens = FULL

    @property
    def empty(self) -> bool:
        """Whether nothing more is to be sent a second time."""
        return self._tokens < 1

    def spend(self) -> None:
        """A connection was lost."""
        self._tokens = max(0.0, self._tokens - 1)

    def earn(self, replies: int) -> None:
        """So many replies came."""
        if self._tokens < FULL:
            self._tokens = min(FULL, self._tokens + replies * REFILL)
