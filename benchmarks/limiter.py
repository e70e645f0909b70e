"""Admissions per second by a shared limit, from 1, 50 and 500 tasks, each waiting for its answer before it asks again.

ours               `state.limiter(...).admit(id)`: GCRA by Redis' clock, in a script
limits_fixed       `limits`, async over redis-py, FixedWindowRateLimiter
limits_sliding     the same with SlidingWindowCounterRateLimiter
limits_moving      the same with MovingWindowRateLimiter
limit              our script, called over a protocol that does nothing else

All have a limit that is never reached, for the same ids, and turns on one event loop, in changing
order. A ratio is ours to theirs, the median round by round. "outage" is a decision by this process'
share, one at a time, while the server is frozen: the promise is a p99 below 100 us.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import Any

from benchmarks.contestants import OURS, POOL, bare
from benchmarks.run import Plan, Report, Window, measured, new_server, paired, row, row_of_times, turns
from benchmarks.values import IDS
from polly_state import Mode, PollyState, Rule, Settings
from polly_state.commands import Admit
from polly_state.commands import Plan as Rules
from polly_state.testing import Server

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=5, seconds=0.3)
TASKS = (1, 50, 500)
RULE = Rule("hour", 1_000_000, 3600)
WARM_UP = 0.05
CALLS = 20_000
PROMISED = 100e-6

Call = Callable[[str], Awaitable[Any]]


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Call]:
    async with PollyState(Settings.from_url(url, namespace="ours")) as state:
        yield state.limiter("limits", RULE).admit


def peer(strategy: str) -> Any:
    @asynccontextmanager
    async def contestant(url: str) -> AsyncIterator[Call]:
        from limits import RateLimitItemPerHour
        from limits.aio import storage, strategies
        from redis.asyncio import BlockingConnectionPool

        # It would raise at the first task above the number of its connections.
        kept = storage.RedisStorage(f"async+{url}", implementation="redispy")
        kept.bridge.storage.connection_pool = BlockingConnectionPool.from_url(url, max_connections=POOL)
        limiter = getattr(strategies, strategy)(kept)
        item = RateLimitItemPerHour(RULE.limit, namespace=strategy)
        yield lambda user: limiter.hit(item, user)

    return contestant


@asynccontextmanager
async def limit(url: str) -> AsyncIterator[Call]:
    async with bare(url) as call:
        rules = Rules((RULE,), "share")
        await call("SCRIPT", "LOAD", Admit.script.source)
        digest, arguments = Admit.script.digest, rules.arguments
        yield lambda user: call("EVALSHA", digest, 1, f"limit:{user}", 1, 1, *arguments)


CONTESTANTS = {
    OURS: ours,
    "limits_fixed": peer("FixedWindowRateLimiter"),
    "limits_sliding": peer("SlidingWindowCounterRateLimiter"),
    "limits_moving": peer("MovingWindowRateLimiter"),
    "limit": limit,
}


async def run(plan: Plan) -> Report:
    report = Report("limiter")
    async with new_server() as server:
        async with AsyncExitStack() as stack:
            calls = await _opened(stack, server.url, report)
            for tasks in TASKS:
                windows: dict[str, list[Window]] = {name: [] for name in calls}
                for call in calls.values():
                    await measured(call, (), tasks, WARM_UP)
                for name in turns(calls, plan.rounds):
                    windows[name].append(await measured(calls[name], (), tasks, plan.seconds))
                _note(report, windows, tasks)
        await _outage(report, server)
    return report


async def _opened(stack: AsyncExitStack, url: str, report: Report) -> dict[str, Call]:
    calls: dict[str, Call] = {}
    for name, contestant in CONTESTANTS.items():
        try:
            call = await stack.enter_async_context(contestant(url))
            await call(IDS[0])
        except Exception as error:
            if name == OURS:
                raise
            report.skipped[name] = f"{type(error).__name__}: {error}"
        else:
            calls[name] = call
    return calls


def _note(report: Report, windows: dict[str, list[Window]], tasks: int) -> None:
    for name, theirs in windows.items():
        report.rows.append(row(name, "admit", tasks, theirs))
        if name != OURS:
            report.ratios[f"admit/{name}@{tasks}"] = paired(
                (window.rate for window in windows[OURS]), (window.rate for window in theirs)
            )


async def _outage(report: Report, server: Server) -> None:
    async with PollyState(Settings.from_url(server.url, namespace="outage")) as state:
        limits = state.limiter("limits", RULE)
        await limits.admit(IDS[0])
        server.freeze()
        try:
            while state.mode is not Mode.DEGRADED:
                await limits.admit(IDS[0])
            times = []
            for number in range(CALLS):
                began = perf_counter()
                await limits.admit(IDS[number % len(IDS)])
                times.append(perf_counter() - began)
        finally:
            server.thaw()
    line = row_of_times(OURS, "outage", 1, times)
    report.rows.append(line)
    report.ratios["outage_p99/promise"] = round(PROMISED * 1e6 / line["p99_us"], 2)
