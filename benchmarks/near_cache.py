"""Hits per second of values that are kept in process, while Redis tells of changes to them; from one task.

ours            `get` of a cache, as its users call it.
cashews_near    Cashews with `client_side=True`: the same idea, over RESP2.
cashews_memory  Cashews' memory backend alone, which nobody tells of anything.

A value is a text, a dict of 10 texts, a dataclass of 10 fields, or a frozen one; ours hands out a copy of the dict
and of the dataclass that can be changed, so that nobody can spoil what the next one gets. All have their turns on
one event loop, in changing order. A ratio is the median of the ratios round by round, of rates ("text/...") and of
processor time ("text_cpu/..."), which the rest of the machine disturbs less. "hits/promise" is the rate of the text
through 300 000 a second.

`memory` is apart from that: a million keys go through a near cache of 50 MB in a process of its own, and `mb` is how
much that process grew at most, "memory/promise" 80 MB through that.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.contestants import OURS, POOL, Contestant, Job, Jobs
from benchmarks.run import Plan, Report, Window, measured, new_server, opened, paired, row, turns
from benchmarks.values import IDS, frozen, profile

__all__ = ["PLAN", "VALUES", "ours", "run", "warmed"]

PLAN = Plan(rounds=9, seconds=0.2)
VALUES: dict[str, Any] = {
    "text": "x" * 200,
    "dict": {f"field{number}": f"value {number}" for number in range(10)},
    "dataclass": profile(10),
    "frozen": frozen(),
}
SETTLED = 0.2
PROMISED_RATE, PROMISED_MB = 300_000, 80
KEYS, MB = 1_000_000, 50

GROWTH = f"""
import gc, time
from polly_state.near import NearCache

def resident():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * 4096 / 2**20

cache = NearCache(10_000_000, {MB} * 2**20, time.time)
cache.trust(float("inf"))
gc.collect()
before, most = resident(), 0.0
for number in range({KEYS}):
    key = f"polly:cache.users:{{{{{{number}}}}}}"
    cache.fill(key, cache.begin(key), {{"id": number, "name": f"user {{number}}", "roles": [number]}}, 50, None)
    if not number % 10_000:
        most = max(most, resident() - before)
print(most)
"""


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Jobs]:
    from polly_state import PollyState, Settings

    async with PollyState(Settings.from_url(url, namespace="ours")) as state:

        def job(value: Any) -> Job:
            family = state.cache.family(type(value).__name__, type(value), ttl=3600)
            return Job(family.get, family.set, value)

        yield job


def _cashews(*, memory: bool) -> Contestant:
    @asynccontextmanager
    async def contestant(url: str) -> AsyncIterator[Jobs]:
        from cashews import Cache

        cache = Cache()
        if memory:
            cache.setup("mem://", size=10_000)
        else:
            cache.setup(url, client_side=True, max_connections=POOL, check_repr=False)
        await cache.init()

        def job(value: Any) -> Job:
            prefix = f"{type(value).__name__}:"

            async def get(user: str) -> Any:
                return await cache.get(f"{prefix}{user}")

            async def put(user: str, value: Any) -> None:
                await cache.set(f"{prefix}{user}", value)

            return Job(get, put, value)

        try:
            yield job
        finally:
            await cache.close()

    return contestant


CONTESTANTS: dict[str, Contestant] = {
    OURS: ours,
    "cashews_near": _cashews(memory=False),
    "cashews_memory": _cashews(memory=True),
}


async def run(plan: Plan) -> Report:
    report = Report("near_cache")
    async with new_server() as server, opened(server.url, report.skipped, among=CONTESTANTS) as contestants:
        for op, value in VALUES.items():
            jobs = {name: make(value) for name, make in contestants.items()}
            for job in jobs.values():
                await warmed(job)
            windows: dict[str, list[Window]] = {name: [] for name in jobs}
            for name in turns(jobs, plan.rounds):
                windows[name].append(await measured(jobs[name].get, (), 1, plan.seconds))
            _note(report, op, windows)
    if sys.platform == "linux":
        await _memory(report)
    return report


async def warmed(job: Job) -> None:
    for user in IDS:
        await job.set(user, job.value)
    # What is told of these writes is in by then.
    await asyncio.sleep(SETTLED)
    for user in IDS:
        assert await job.get(user) == job.value


def _note(report: Report, op: str, windows: dict[str, list[Window]]) -> None:
    for name, theirs in windows.items():
        report.rows.append(row(name, op, 1, theirs))
        if name != OURS:
            ratio = paired((window.rate for window in windows[OURS]), (window.rate for window in theirs))
            report.ratios[f"{op}/{name}@1"] = ratio
            cpu = paired((window.cpu_per_call for window in theirs), (window.cpu_per_call for window in windows[OURS]))
            report.ratios[f"{op}_cpu/{name}@1"] = cpu
    if op == next(iter(VALUES)):
        rate: Callable[[dict[str, Any]], bool] = lambda line: line["contestant"] == OURS and line["op"] == op  # noqa: E731
        report.ratios["hits/promise@1"] = round(next(filter(rate, report.rows))["ops_s"] / PROMISED_RATE, 2)


async def _memory(report: Report) -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", GROWTH, stdout=pipe)
    grown, _ = await process.communicate()
    report.rows.append({"contestant": OURS, "op": "memory", "tasks": 1, "mb": round(float(grown), 1)})
    report.ratios["memory/promise@1"] = round(PROMISED_MB / float(grown), 2)
