"""What a lock costs: one that is free, one that others want, and a thousand that are only held.

cycle      acquire and release a free lock, from 1 and 50 tasks, each with locks of its own:
           ours, redis-py's `Lock`, and `limit`, the two scripts called over a protocol that does nothing else
hand_off   from the release in one process to the block being entered in another: two connections of one event loop;
           late_hand_off is the same for a lock that was held for 0.1 s
held       one thousand locks that are renewed at a third of their ttl: the commands of each round, and its round trips
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import Any

from benchmarks.contestants import OURS, POOL, bare
from benchmarks.run import Plan, Report, Window, measured, new_server, paired, quantile, row, row_of_times, turns
from polly_state import Lease, PollyState, Settings
from polly_state.commands import Acquire, Release

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=5, seconds=0.3)
TASKS = (1, 50)
#: How often, and for how many seconds it is held each time.
HAND_OFFS = {"hand_off": (300, 0.005), "late_hand_off": (40, 0.1)}
HELD = 1000
TTL = 0.9

Call = Callable[[str], Awaitable[Any]]


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Call]:
    async with PollyState(Settings.from_url(url, namespace="ours")) as state:
        locks, numbers = state.locks(), iter(range(1 << 60))

        async def cycle(user: str) -> None:
            async with locks.hold((user, next(numbers))):
                pass

        yield cycle


@asynccontextmanager
async def redis_py(url: str) -> AsyncIterator[Call]:
    from redis.asyncio import BlockingConnectionPool, Redis

    numbers = iter(range(1 << 60))
    async with Redis.from_pool(BlockingConnectionPool.from_url(url, max_connections=POOL)) as client:

        async def cycle(user: str) -> None:
            async with client.lock(f"redis_py:{user}:{next(numbers)}", timeout=30):
                pass

        yield cycle


@asynccontextmanager
async def limit(url: str) -> AsyncIterator[Call]:
    numbers = iter(range(1 << 60))
    async with bare(url) as call:
        for script in (Acquire.script, Release.script):
            await call("SCRIPT", "LOAD", script.source)

        async def cycle(user: str) -> None:
            key = f"limit:{user}:{next(numbers)}"
            await call("EVALSHA", Acquire.script.digest, 2, key, f"{key}~", "token", 30_000, "", "")
            await call("EVALSHA", Release.script.digest, 2, key, f"{key}~", "token")

        yield cycle


CONTESTANTS = {OURS: ours, "redis_py": redis_py, "limit": limit}


async def run(plan: Plan) -> Report:
    report = Report("locks")
    async with new_server() as server:
        async with AsyncExitStack() as stack:
            calls = {name: await stack.enter_async_context(each(server.url)) for name, each in CONTESTANTS.items()}
            for tasks in TASKS:
                windows: dict[str, list[Window]] = {name: [] for name in calls}
                for name in turns(calls, plan.rounds):
                    windows[name].append(await measured(calls[name], (), tasks, plan.seconds))
                for name, theirs in windows.items():
                    report.rows.append(row(name, "cycle", tasks, theirs))
                    if name != OURS:
                        report.ratios[f"cycle/{name}@{tasks}"] = paired(
                            (window.rate for window in windows[OURS]), (window.rate for window in theirs)
                        )
        for op, (count, held) in HAND_OFFS.items():
            await _hand_offs(report, server.url, op, count, held)
        await _held(report, server.url)
    return report


async def _hand_offs(report: Report, url: str, op: str, count: int, held: float) -> None:
    settings = Settings.from_url(url, namespace=op)
    times: list[float] = []

    async def acquired(state: PollyState) -> tuple[Lease, float]:
        return await state.locks("l").acquire("a"), perf_counter()

    async with PollyState(settings) as one, PollyState(settings) as two:
        lease, _ = await acquired(one)
        for number in range(count):
            waiting = asyncio.create_task(acquired((two, one)[number % 2]))
            await asyncio.sleep(held)
            began = perf_counter()
            await lease.release()
            lease, entered = await waiting
            times.append(entered - began)
    report.rows.append(row_of_times(OURS, op, 2, times, p95_us=round(quantile(times, 95) * 1e6, 2)))


async def _held(report: Report, url: str) -> None:
    async with PollyState(Settings.from_url(url, namespace="held")) as state:
        leases = await asyncio.gather(*(state.locks("l", ttl=TTL).acquire(number) for number in range(HELD)))
        watchdog = leases[0].watchdog
        rounds, renewed = watchdog.rounds, _renewals(state)
        await asyncio.sleep(5 * TTL / 3)
        rounds, renewed = watchdog.rounds - rounds, _renewals(state) - renewed
        assert all(lease.held for lease in leases)
    report.rows.append({"contestant": OURS, "op": "held", "tasks": HELD, "rounds": rounds, "renewals": renewed})
    report.ratios["rounds_per_interval/held"] = round(rounds / 5, 2)


def _renewals(state: PollyState) -> int:
    found = state.statistics().operations.get("Renew")
    return 0 if found is None else found.operations
