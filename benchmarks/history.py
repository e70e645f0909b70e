"""Tracks that are added to the histories of 64 guilds in a second, from 1, 50 and 500 tasks, and looked for.

ours        `state.history.add(guild, track)`: to the log, which is capped and ordered by when it was played, and the
            track's id and URL to what `is_duplicate` asks
bare        the log alone, `state.log(...).append`: what compares with the next
redis_py    what bots did before: LPUSH, LTRIM and EXPIRE of JSON in one pipeline, over 16 connections

"duplicate" asks whether a URL that was not played is among the 100 tracks kept: ours by one look-up, theirs by
reading all of them. Everybody's history is checked in the end: capped, and the newest first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from itertools import count
from typing import Any, NamedTuple

import orjson

from benchmarks.contestants import OURS, POOL
from benchmarks.run import Plan, Report, Window, measured, new_server, paired, row, turns
from benchmarks.values import IDS
from polly_state import PollyState, Settings
from polly_state.services.history import TRACKS, WEEK, Track

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=5, seconds=0.3)
TASKS = (1, 50, 500)
NOWHERE = "https://example.org/nowhere"


class Kept(NamedTuple):
    """How a contestant keeps tracks."""

    add: Callable[[str], Awaitable[Any]]
    """Add the next track to a guild's history."""
    titles: Callable[[str], Awaitable[list[str]]]
    """All that are kept, as they are given."""
    seen: Callable[[str], Awaitable[bool]] | None
    """Whether a URL that never was played is among them."""


def tracks() -> Callable[[], Track]:
    numbers = count()

    def following() -> Track:
        number = next(numbers)
        return Track(f"id-{number}", f"{number:09}", "Ann", url=f"https://example.org/{number}", duration=161.5)

    return following


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Kept]:
    following = tracks()
    async with PollyState(Settings.from_url(url, namespace="ours")) as state:
        history = state.history

        async def titles(guild: str) -> list[str]:
            return [track.title for track in await history.tracks(guild, TRACKS)]

        yield Kept(
            lambda guild: history.add(guild, following()),
            titles,
            lambda guild: history.is_duplicate(guild, url=NOWHERE),
        )


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Kept]:
    following = tracks()
    async with PollyState(Settings.from_url(url, namespace="bare")) as state:
        log = state.log("history", Track, limit=TRACKS, ttl=WEEK)

        async def titles(guild: str) -> list[str]:
            return [track.title for track in await log.latest(guild)]

        yield Kept(lambda guild: log.append(guild, following()), titles, None)


@asynccontextmanager
async def redis_py(url: str) -> AsyncIterator[Kept]:
    from redis.asyncio import BlockingConnectionPool, Redis

    following = tracks()
    async with Redis.from_pool(BlockingConnectionPool.from_url(url, max_connections=POOL)) as client:

        async def add(guild: str) -> None:
            key, content = f"redis_py:{guild}", orjson.dumps(asdict(following()))
            async with client.pipeline(transaction=False) as pipeline:
                await pipeline.lpush(key, content).ltrim(key, 0, TRACKS - 1).expire(key, int(WEEK)).execute()

        async def kept(guild: str) -> list[dict[str, Any]]:
            return [orjson.loads(content) for content in await client.lrange(f"redis_py:{guild}", 0, -1)]

        async def titles(guild: str) -> list[str]:
            return [track["title"] for track in await kept(guild)]

        async def seen(guild: str) -> bool:
            return any(track["url"] == NOWHERE for track in await kept(guild))

        yield Kept(add, titles, seen)


CONTESTANTS = {OURS: ours, "bare": bare, "redis_py": redis_py}


async def run(plan: Plan) -> Report:
    report = Report("history")
    async with new_server() as server, AsyncExitStack() as stack:
        kept = {name: await stack.enter_async_context(each(server.url)) for name, each in CONTESTANTS.items()}
        for tasks in TASKS:
            await _measure(report, plan, "add", tasks, {name: each.add for name, each in kept.items()})
        for name, each in kept.items():
            for _ in range(TRACKS):
                await each.add(IDS[0])
            found = await each.titles(IDS[0])
            assert len(found) == TRACKS, name
            assert found == sorted(found, reverse=True), name
        for tasks in TASKS:
            calls = {name: each.seen for name, each in kept.items() if each.seen is not None}
            await _measure(report, plan, "duplicate", tasks, calls)
    return report


async def _measure(
    report: Report, plan: Plan, op: str, tasks: int, calls: dict[str, Callable[[str], Awaitable[Any]]]
) -> None:
    windows: dict[str, list[Window]] = {name: [] for name in calls}
    for name in turns(calls, plan.rounds):
        windows[name].append(await measured(calls[name], (), tasks, plan.seconds))
    report.rows += [row(name, op, tasks, theirs) for name, theirs in windows.items()]
    for name in calls.keys() - {"redis_py"}:
        pairs = [[window.rate for window in windows[each]] for each in (name, "redis_py")]
        report.ratios[f"{name}_{op}/redis_py@{tasks}"] = paired(*pairs)
