"""Upkeep: one task that looks after what nobody calls for."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from polly_state.errors import StateError

__all__ = ["Upkeep"]

_log = logging.getLogger("polly_state")


class Upkeep:
    """Takes steps at intervals, each in its turn, until it is closed. What one of them raises ends nothing."""

    def __init__(self, *steps: tuple[float, Callable[[], Awaitable[None]]]) -> None:
        """Take each step about every so many seconds."""
        self._steps = steps
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin; the first step comes after the first interval."""
        self._tasks = [
            asyncio.create_task(self._repeat(seconds, step), name="polly_state upkeep") for seconds, step in self._steps
        ]

    async def aclose(self) -> None:
        """End it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _repeat(self, seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            # Processes that started together do not all knock together.
            await asyncio.sleep(seconds * random.uniform(0.8, 1.2))
            try:
                await step()
            except StateError as error:
                _log.debug("upkeep was put off: %s", error)
            except Exception:  # noqa: BLE001 - the next round may do better, and nobody awaits this one
                _log.exception("a step of the upkeep failed")
