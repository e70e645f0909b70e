"""A clock to turn by hand."""

from __future__ import annotations

__all__ = ["Clock"]


class Clock:
    """Tells the time it was turned to; hand it in where a `time.time` or `time.monotonic` goes."""

    __slots__ = ("_now",)

    def __init__(self, now: float = 1_000_000.0) -> None:
        self._now = now

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self._now

    def __repr__(self) -> str:
        return f"Clock({self._now!r})"

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass.

        Raises:
            ValueError: If time would run backwards; that is what `turn_to` is for.
        """
        if seconds < 0:
            raise ValueError(f"cannot advance by {seconds!r} seconds")
        self._now += seconds

    def turn_to(self, now: float) -> None:
        """Show *now*, earlier or later: what an administrator does to a wall clock."""
        self._now = now
