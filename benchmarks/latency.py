"""How long one task waits for a typed get of a value of 10 fields, when nobody else asks for anything.

Timed is every call by itself, from the id to the dataclass. The contestants take turns in short
blocks, in changing order, so that noise of the machine meets all alike. A row holds the medians over
the blocks. A ratio is theirs to ours, the median over the blocks: "p50/redis_py@1" below 1/1.05 means
that a single task is slower with us.
"""

from __future__ import annotations

from time import perf_counter, process_time

from benchmarks.contestants import OURS, Job
from benchmarks.run import Plan, Report, Window, new_server, opened, paired, row, turns
from benchmarks.values import IDS, profile

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=60, seconds=0.02)
SIZE = 10


async def run(plan: Plan) -> Report:
    report = Report("latency")
    async with new_server() as server, opened(server.url, report.skipped) as contestants:
        jobs = {name: make(profile(SIZE)) for name, make in contestants.items()}
        blocks: dict[str, list[Window]] = {name: [] for name in jobs}
        for job in jobs.values():
            for user in IDS:
                await job.set(user, job.value)
            await _block(job, plan.seconds)
        for name in turns(jobs, plan.rounds):
            blocks[name].append(await _block(jobs[name], plan.seconds))
    for name, windows in blocks.items():
        report.rows.append(row(name, "get", 1, windows, fields=SIZE))
    others = [name for name in blocks if name != OURS]
    for percent in (50, 99):
        ours = [window.quantile(percent) for window in blocks[OURS]]
        for name in others:
            theirs = (window.quantile(percent) for window in blocks[name])
            report.ratios[f"p{percent}/{name}@1"] = paired(theirs, ours)
    return report


async def _block(job: Job, seconds: float) -> Window:
    get, samples = job.get, []
    cpu, start = process_time(), perf_counter()
    end = start + seconds
    while perf_counter() < end:
        for user in IDS[:16]:
            began = perf_counter()
            await get(user)
            samples.append(perf_counter() - began)
    return Window(len(samples), perf_counter() - start, process_time() - cpu, samples)
