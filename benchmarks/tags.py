"""How long the invalidation of a tag takes, with 1 000 entries that carry it and with 100 000.

Ours writes one marker, whatever there is; cashews keeps a set of keys for each tag and deletes them. aiocache has no
tags. Times are of single calls; a ratio is theirs to ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.contestants import POOL
from benchmarks.run import Plan, Report, new_server

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=5, seconds=0.0)
SIZES = (1_000, 100_000)
BATCH = 1_000
Fill = Callable[[range], Awaitable[Any]]
Step = Callable[[], Awaitable[Any]]


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[tuple[Fill, Step, Step]]:
    from polly_state import PollyState, Settings

    async with PollyState(Settings.from_url(url, namespace="ours")) as state:
        cache = state.cache.family("tagged", int, ttl=600)

        async def fill(numbers: range) -> None:
            await cache.set_many({number: number for number in numbers}, tags=["tag"])

        yield fill, lambda: state.cache.invalidate_tag("tag"), lambda: cache.get(7)


@asynccontextmanager
async def cashews(url: str) -> AsyncIterator[tuple[Fill, Step, Step]]:
    from cashews import Cache

    cache = Cache()
    cache.setup(url, max_connections=POOL, check_repr=False)
    await cache.init()
    cache.register_tag("tag", "tagged:{number}")

    async def fill(numbers: range) -> None:
        await asyncio.gather(*(cache.set(f"tagged:{number}", number, expire=600, tags=["tag"]) for number in numbers))

    try:
        yield fill, lambda: cache.delete_tags("tag"), lambda: cache.get("tagged:7")
    finally:
        await cache.close()


CONTESTANTS = (ours, cashews)


async def run(plan: Plan) -> Report:
    report = Report("tags")
    found: dict[tuple[str, int], float] = {}
    async with new_server() as server:
        for open_ in CONTESTANTS:
            name = open_.__name__
            try:
                async with open_(server.url) as (fill, invalidate, look):
                    for size in SIZES:
                        rounds = plan.rounds if name == "ours" or size == SIZES[0] else 1
                        times = [await _timed(fill, invalidate, look, size) for _ in range(rounds)]
                        found[name, size] = median(times)
                        ms = round(median(times) * 1000, 3)
                        report.rows.append({"contestant": name, "entries": size, "invalidate_ms": ms})
            except Exception as error:
                if name == "ours":
                    raise
                report.skipped[name] = f"{type(error).__name__}: {error}"
    for (name, size), seconds in found.items():
        if name != "ours":
            report.ratios[f"invalidate/{name}@{size}"] = round(seconds / found["ours", size], 3)
    return report


async def _timed(fill: Fill, invalidate: Step, look: Step, size: int) -> float:
    for start in range(0, size, BATCH):
        await fill(range(start, start + BATCH))
    assert await look() == 7
    began = perf_counter()
    await invalidate()
    seconds = perf_counter() - began
    assert await look() is None
    return seconds
