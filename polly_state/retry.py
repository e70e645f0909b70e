"""Trying again until it works: for background work, which has no caller who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, retry_if_exception_type

__all__ = ["until_done"]


async def until_done(
    step: Callable[[], Awaitable[None]],
    *,
    expected: tuple[type[Exception], ...],
    delay: Callable[[int], float],
) -> None:
    """Run *step* until it raises nothing.

    Args:
        step: What to do.
        expected: Errors after which it is tried again; any other is raised.
        delay: Seconds to wait, by the number of failures so far.
    """
    attempts = AsyncRetrying(
        retry=retry_if_exception_type(expected),
        wait=lambda state: delay(state.attempt_number),
        sleep=asyncio.sleep,
    )
    async for attempt in attempts:
        with attempt:
            await step()
