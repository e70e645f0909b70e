"""Warming: something done for each of many ids, a few at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from polly_state.structures import Id
from polly_state.structures.base import positive

__all__ = ["for_each"]

I = TypeVar("I", bound=Id)  # noqa: E741


async def for_each(ids: Iterable[I], work: Callable[[I], Awaitable[object]], at_once: int) -> None:
    """Do *work* for all *ids*, so many *at once*. The first failure ends the others, and is raised as it is."""
    ahead = iter(ids)

    async def works() -> None:
        for each in ahead:
            await work(each)

    workers = [asyncio.create_task(works(), name="polly_state warm") for _ in range(positive(at_once))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
