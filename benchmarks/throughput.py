"""Calls per second: typed get and set of a value of 1, 10 and 100 fields, from 1, 50 and 500 tasks.

Timed is the whole call as a bot makes it: the key from the id, the value to JSON or back to its
dataclass, and the way to a server on the loopback interface and back, each task waiting for its
answer before it asks again. All contestants have their turns on one event loop, in every round, in
changing order. A row holds medians over the rounds; `cpu_us` is the processor time of the client for
one call. A ratio is the median of the ratios round by round: "get/..." and "set/..." are those of
the value of 10 fields, "get1/...", "get100/..." and so on those of the others, and "get_cpu/..." and so on compare the
processor time, which the rest of the machine disturbs less.

`limit` gets and sets bytes; our `set` is a durable write with a stamp, by a script, where the others
send a plain SET; our value of 100 fields is compressed.
"""

from __future__ import annotations

from typing import Any

from benchmarks.contestants import OURS, Job
from benchmarks.run import Plan, Report, Window, measured, new_server, opened, paired, row, turns
from benchmarks.values import IDS, SIZES, profile

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=3, seconds=0.3)
TASKS = (1, 50, 500)
HEADLINE = 10
WARM_UP = 0.03


async def run(plan: Plan) -> Report:
    report = Report("throughput")
    async with new_server() as server, opened(server.url, report.skipped) as contestants:
        for size in SIZES:
            jobs = await _filled(contestants, size)
            for op in ("get", "set"):
                for tasks in TASKS:
                    windows = await _cell(report, plan, jobs, op, tasks)
                    _note(report, windows, op, tasks, size)
    return report


async def _filled(contestants: Any, size: int) -> dict[str, Job]:
    jobs = {name: make(profile(size)) for name, make in contestants.items()}
    for job in jobs.values():
        for user in IDS:
            await job.set(user, job.value)
        assert await job.get(IDS[-1]) == job.value
    return jobs


async def _cell(report: Report, plan: Plan, jobs: dict[str, Job], op: str, tasks: int) -> dict[str, list[Window]]:
    windows: dict[str, list[Window]] = {name: [] for name in jobs}
    for name in turns(jobs, plan.rounds):
        if name not in windows:
            continue
        job = jobs[name]
        call, arguments = (job.get, ()) if op == "get" else (job.set, (job.value,))
        try:
            if not windows[name]:
                await measured(call, arguments, tasks, WARM_UP)
            windows[name].append(await measured(call, arguments, tasks, plan.seconds))
        except Exception as error:
            if name == OURS:
                raise
            del windows[name]
            report.skipped[f"{name} {op}@{tasks}"] = f"{type(error).__name__}: {error}"
    return windows


def _note(report: Report, windows: dict[str, list[Window]], op: str, tasks: int, size: int) -> None:
    label = op if size == HEADLINE else f"{op}{size}"
    ours = windows[OURS]
    for name, theirs in windows.items():
        report.rows.append(row(name, op, tasks, theirs, fields=size))
        if name != OURS:
            report.ratios[f"{label}/{name}@{tasks}"] = paired(
                (window.rate for window in ours), (window.rate for window in theirs)
            )
            report.ratios[f"{label}_cpu/{name}@{tasks}"] = paired(
                (window.cpu_per_call for window in theirs), (window.cpu_per_call for window in ours)
            )
