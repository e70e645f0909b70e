"""How often a loader runs when many want one cold key at once, and how long the last of them waits.

Each contestant has so many states or caches of its own over one server as a bot has processes, on one event loop, and
in each of them so many tasks that ask at the same moment. The loader takes 50 ms. A row is a round.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.loaders import CACHES
from benchmarks.run import Plan, Report, new_server
from benchmarks.values import profile

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=3, seconds=0.05)
PROCESSES, TASKS = 4, 250


async def run(plan: Plan) -> Report:
    report = Report("stampede")
    value = profile(10)
    loads = 0

    async def load(_: str) -> Any:
        nonlocal loads
        loads += 1
        await asyncio.sleep(plan.seconds)
        return value

    async with new_server() as server:
        for name, open_ in CACHES.items():
            counts, waits = [], []
            try:
                async with AsyncExitStack() as stack:
                    opened = [open_(server.url, type(value), load) for _ in range(PROCESSES)]
                    gets = [await stack.enter_async_context(each) for each in opened]
                    for number in range(plan.rounds):
                        loads, began = 0, perf_counter()
                        await asyncio.gather(*(get(f"cold-{number}") for get in gets for _ in range(TASKS)))
                        counts.append(loads)
                        waits.append(perf_counter() - began)
            except Exception as error:
                if name.startswith("ours"):
                    raise
                report.skipped[name] = f"{type(error).__name__}: {error}"
                continue
            report.rows.append(
                {
                    "contestant": name,
                    "callers": PROCESSES * TASKS,
                    "loads": max(counts),
                    "last_ms": round(median(waits) * 1000, 1),
                }
            )
            if name == "ours":
                assert max(counts) == 1, "one load is enough"
    ours = report.rows[0]
    for other in report.rows[1:]:
        report.ratios[f"loads/{other['contestant']}"] = round(other["loads"] / ours["loads"], 3)
    return report
