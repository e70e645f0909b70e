"""Calls per second: `get_or_load` of a typed value of 10 fields that is in Redis, from 1 and 50 tasks.

Timed is the whole call: the key, the way to a server on the loopback interface and back, the check of what has been
invalidated (ours alone has that), and the value as its dataclass. The loader runs once for each of 64 ids, before the
time is taken. A ratio is the median of the ratios round by round.
"""

from __future__ import annotations

from typing import Any

from benchmarks.loaders import opened
from benchmarks.run import Plan, Report, Window, measured, new_server, paired, row, turns
from benchmarks.values import IDS, profile

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=3, seconds=0.3)
TASKS = (1, 50)
WARM_UP = 0.03


async def run(plan: Plan) -> Report:
    report = Report("get_or_load")
    value = profile(10)
    loads = 0

    async def load(_: str) -> Any:
        nonlocal loads
        loads += 1
        return value

    async with new_server() as server, opened(server.url, type(value), load, report.skipped) as caches:
        for tasks in TASKS:
            windows: dict[str, list[Window]] = {name: [] for name in caches}
            for get in caches.values():
                for user in IDS:
                    await get(user)
                await measured(get, (), tasks, WARM_UP)
            before = loads
            for name in turns(caches, plan.rounds):
                windows[name].append(await measured(caches[name], (), tasks, plan.seconds))
            assert loads == before, "a hit does not load"
            for name, theirs in windows.items():
                report.rows.append(row(name, "hit", tasks, theirs))
                if name != "ours":
                    rates = [(window.rate for window in each) for each in (windows["ours"], theirs)]
                    report.ratios[f"hit/{name}@{tasks}"] = paired(*rates)
    return report
