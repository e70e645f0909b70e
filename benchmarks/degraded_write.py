"""What one durable write costs while Redis is away, with the journal in memory and in a directory.

set_100, set_2000  A typed `set` of so many bytes, each call by itself, by one task and by fifty that
                   take turns without a pause; a thousand ids, so that most writes take the place of
                   an earlier one, as they do in an outage that lasts.
new_100, new_2000  The same with an id of its own for every call: each is a new row.
shared_100         Three processes write to one directory, each by one task: `paced` with a
                   millisecond between its calls, `flat` without; the calls of all processes.

There is no server. `stall_us` is the longest that the loop let another task wait meanwhile,
which with fifty tasks is one turn of all of them; `refused` are calls that found the journal in use
by others until the deadline. Ratios are promised to measured p99, so that 1 or
more holds it: 100 us in memory, 1 ms in a directory.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import count, cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, time
from typing import NamedTuple

from benchmarks.contestants import OURS
from benchmarks.run import MICRO, Plan, Report, new_server, quantile, row_of_times
from benchmarks.watch import Watch, watched
from polly_state import Mode, PollyState, Settings, StoreUnavailable
from polly_state.testing import Server

__all__ = ["DIRECTORY", "JOURNALS", "MEMORY", "NAMESPACE", "PLAN", "degraded", "kept_in", "run"]

PLAN = Plan(rounds=3, seconds=1.0)
MEMORY, DIRECTORY = "memory", "directory"
JOURNALS = (MEMORY, DIRECTORY)
PROMISED = {MEMORY: 100e-6, DIRECTORY: 1e-3}
SIZES = (100, 2000)
TASKS = (1, 50)
KNOWN = 1000
PROCESSES = 3
PACE = 0.001
START = 0.5
PATIENCE = 10.0
NAMESPACE = "outage"


class Case(NamedTuple):
    """How is written: `set` again and again, or `new` values, of so many bytes, with so many seconds between."""

    name: str
    size: int
    tasks: int
    pace: float = 0.0


class Written(NamedTuple):
    """The seconds of each call, the longest stall of the loop, and how many calls were refused."""

    times: list[float]
    stall: float
    refused: int


async def run(plan: Plan) -> Report:
    report = Report("degraded_write")
    # Each state that is closed says how much it has not written.
    logging.disable()
    # Not started: a port at which nobody answers.
    server = new_server()
    try:
        for journal in JOURNALS:
            for size in SIZES:
                for tasks in TASKS:
                    await _note(report, server, plan, (journal, Case("set", size, tasks)))
                await _note(report, server, plan, (journal, Case("new", size, 1)))
        await _shared(report, server, plan)
    finally:
        server.stop()
    return report


async def _note(report: Report, server: Server, plan: Plan, case: tuple[str, Case]) -> None:
    journal, how = case
    found = []
    for _ in range(plan.rounds):
        with kept_in(journal) as directory:
            async with degraded(server.url, directory) as state:
                found.append(await _writes(state, how, perf_counter() + plan.seconds))
    _row(report, journal, f"{how.name}_{how.size}@{how.tasks}", found)


async def _shared(report: Report, server: Server, plan: Plan) -> None:
    """Several processes on one directory; a round is what all of them found."""
    context = multiprocessing.get_context("spawn")
    cases = {"paced": Case("set", SIZES[0], 1, PACE), "flat": Case("set", SIZES[0], 1)}
    with kept_in(DIRECTORY) as directory, ProcessPoolExecutor(PROCESSES, context) as pool:
        for name, case in cases.items():
            found = []
            for _ in range(plan.rounds):
                begin = time() + START
                end = begin + plan.seconds
                jobs = [pool.submit(_process, server.url, directory, case, (begin, end)) for _ in range(PROCESSES)]
                parts = [await asyncio.wrap_future(job) for job in jobs]
                times = [seconds for part in parts for seconds in part.times]
                stall, refused = max(part.stall for part in parts), sum(part.refused for part in parts)
                found.append(Written(times, stall, refused))
            _row(report, DIRECTORY, f"shared_{case.size}_{name}@{PROCESSES}", found)


def _process(url: str, directory: Path, case: Case, when: tuple[float, float]) -> Written:
    async def write() -> Written:
        begin, end = when
        async with degraded(url, directory) as state:
            await asyncio.sleep(max(0.0, begin - time()))
            return await _writes(state, case, perf_counter() + end - time())

    logging.disable()
    return asyncio.run(write())


async def _writes(state: PollyState, case: Case, end: float) -> Written:
    handle, value = state.map("values", bytes), bytes(case.size)
    ids = cycle(range(KNOWN)) if case.name == "set" else count()
    times: list[float] = []
    refused = 0

    async def work() -> None:
        nonlocal refused
        while not times or perf_counter() < end:
            began = perf_counter()
            try:
                await handle.set(next(ids), value)
            except StoreUnavailable:
                refused += 1
            times.append(perf_counter() - began)
            await asyncio.sleep(case.pace)

    async with watched() as stall:
        await asyncio.gather(*(work() for _ in range(case.tasks)))
    assert state.mode is Mode.DEGRADED
    return Written(times, stall.longest, refused)


@contextmanager
def kept_in(journal: str) -> Iterator[Path | None]:
    """The folder for a journal in a directory, deleted at the end, and none for one in memory."""
    if journal is MEMORY:
        yield None
        return
    with TemporaryDirectory(prefix="polly-bench-") as folder:
        yield Path(folder)


@asynccontextmanager
async def degraded(url: str, directory: Path | None, watch: Watch | None = None) -> AsyncIterator[PollyState]:
    """A state that has noticed that there is no server."""
    settings = replace(Settings.from_url(url, namespace=NAMESPACE), directory=directory)
    watch = Watch() if watch is None else watch
    async with PollyState(settings, observers=[watch]) as state:
        async with asyncio.timeout(PATIENCE):
            while state.mode is not Mode.DEGRADED:
                await watch.changed.wait()
        yield state


def _row(report: Report, journal: str, label: str, found: list[Written]) -> None:
    op, _, tasks = label.partition("@")
    times = [seconds for each in found for seconds in each.times]
    stall = round(median(each.stall for each in found) * MICRO)
    extra = {"journal": journal, "stall_us": stall, "refused": sum(each.refused for each in found)}
    report.rows.append(row_of_times(OURS, op, int(tasks), times, **extra))
    # What slowed one round was the machine: the promise is held against the median of the rounds.
    reached = median(quantile(each.times, 99) for each in found)
    report.ratios[f"{op}_p99/{journal}@{tasks}"] = round(PROMISED[journal] / reached, 2)
