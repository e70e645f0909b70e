"""What happens to bytes on their way through a proxy."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Faults", "Weather"]


@dataclass(frozen=True, slots=True)
class Faults:
    """What is done to passing bytes; nothing, unless said otherwise."""

    delay: float = 0.0
    jitter: float = 0.0
    held: bool = False
    dropping: bool = False
    piece: int | None = None
    allowance: int | None = None


class Weather:
    """The faults of the moment, shared by all connections that have to live with them."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._changed = asyncio.Event()

    def change(self, **faults: Any) -> None:
        """Replace some of the faults; bytes that wait are judged anew."""
        self._set(replace(self.faults, **faults))

    def clear(self) -> None:
        """End all faults; bytes that wait may go."""
        self._set(Faults())

    async def let_through(self, arrival: float, luck: float) -> None:
        """Return when bytes that came at *arrival* may leave; *luck* is their share of jitter."""
        clock = asyncio.get_running_loop().time
        while True:
            faults, changed = self.faults, self._changed
            due = arrival + faults.delay + luck * faults.jitter
            if due <= clock() and not faults.held:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if faults.held else due):
                    await changed.wait()

    def _set(self, faults: Faults) -> None:
        self.faults = faults
        self._changed.set()
        self._changed = asyncio.Event()
