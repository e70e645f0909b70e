"""What an outage from its beginning to its end is like for fifty tasks, and whether anything is lost in it.

Each task sets and gets values, turns switches and adds to counters, all of its own, with 5 ms between
two calls: for a while in calm, through an outage (`--seconds`, 10 by itself), and until everything is
in Redis. The server is `killed` and started again, or `frozen` and thawed, with the journal in memory
and in a directory.

calm, outage, recovery   Calls by the phase in which they ended; `ops_s` is of the time in calls,
                         `answered` is how many were, `refused` how many raised.
open, close, drain       From the fault to the circuit being open; from the heal to its being closed, and
                         to the last kept write being in Redis.

`pending` is what was kept at the peak, `replay_s` how many of these reached Redis in a second,
`stall_us` the longest that the loop let others wait, and `lost` how many values, switches and counters
another client has found to be other than what the tasks were told: none, or the run ends in an error.
A refused call that may have been done, `doubtful`, is the one excuse.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from statistics import median
from time import perf_counter
from typing import Any

import redis.asyncio as redis

from benchmarks.contestants import OURS
from benchmarks.degraded_write import JOURNALS, kept_in
from benchmarks.run import MICRO, Plan, Report, row_of_times
from benchmarks.watch import Watch, watched
from polly_state import Mode, PollyState, Settings, StateError
from polly_state.testing import Server, available

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=1, seconds=10.0)
FAULTS = ("killed", "frozen")
PHASES = ("calm", "outage", "recovery")
TASKS = 50
IDS = 40
PACE = 0.005
CALM = 0.2
PATIENCE = 60.0
NAMESPACE = "recovery"


@dataclass
class Run:
    """What one outage has shown; times are in seconds."""

    phase: str = "calm"
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    told: dict[str, bytes] = field(default_factory=dict)
    """What each key must hold, as its task was told."""
    doubtful: int = 0
    """How many refused writes may have been done all the same; one of them may look like a loss."""
    marks: dict[str, float] = field(default_factory=dict)
    pending: int = 0
    stall: float = 0.0
    lost: int = 0


async def run(plan: Plan) -> Report:
    report = Report("recovery")
    logging.disable()
    for fault in FAULTS:
        for journal in JOURNALS:
            runs = [await _outage(fault, journal, plan) for _ in range(plan.rounds)]
            _note(report, fault, journal, runs)
            for each in runs:
                assert each.lost <= each.doubtful, f"{each.lost} keys are not what was told: {fault}, {journal}"
    return report


async def _outage(fault: str, journal: str, plan: Plan) -> Run:
    found, watch = Run(), Watch()
    # Kept over the kill, so that what is lost is lost by us.
    server = Server(next(iter(available().values())), appendonly=True)
    with kept_in(journal) as directory:
        async with server:
            settings = replace(Settings.from_url(server.url, namespace=NAMESPACE), directory=directory)
            async with PollyState(settings, observers=[watch]) as state, _tasks(state, found):
                await _play(fault, state, server, (found, watch, plan.seconds))
            found.lost = await _lost(server.url, found.told)
    return found


async def _play(fault: str, state: PollyState, server: Server, parts: tuple[Run, Watch, float]) -> None:
    found, watch, seconds = parts
    begin, end = (server.kill, server.start) if fault == "killed" else (server.freeze, server.thaw)
    async with watched() as stall:
        # Until every key was seen, so that every call can be answered.
        while len(found.told) < TASKS * IDS * len("vsc"):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(PACE)
        found.times.clear()
        await asyncio.sleep(max(seconds * CALM, 0.1))
        found.phase, fault_at = "outage", perf_counter()
        await asyncio.to_thread(begin)
        await _next(state, watch, Mode.DEGRADED)
        opened = watch.entered[Mode.DEGRADED]
        await asyncio.sleep(seconds - (perf_counter() - fault_at))
        found.pending = state.health().pending
        await asyncio.to_thread(end)
        found.phase, healed = "recovery", perf_counter()
        await _next(state, watch, Mode.RECOVERING, Mode.CONNECTED)
        closed = watch.entered[Mode.RECOVERING]
        await _next(state, watch, Mode.CONNECTED)
        drained = watch.entered[Mode.CONNECTED]
        found.marks = {"open": opened - fault_at, "close": closed - healed, "drain": drained - healed}
        found.marks["replay"] = drained - closed
    found.stall = stall.longest


async def _next(state: PollyState, watch: Watch, *modes: Mode) -> None:
    async with asyncio.timeout(PATIENCE):
        while state.mode not in modes:
            await watch.changed.wait()


@asynccontextmanager
async def _tasks(state: PollyState, found: Run) -> AsyncIterator[None]:
    over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for number in range(TASKS):
            tasks.create_task(_work(state, found, number, over))
        try:
            yield
        finally:
            over.set()


async def _work(state: PollyState, found: Run, number: int, over: asyncio.Event) -> None:
    for step in count():
        if over.is_set():
            break
        user = f"{number}.{step % IDS}"
        for call in (_set(state, user, step), _get(state, user), _turn(state, user), _add(state, user)):
            await _timed(found, call)
            await asyncio.sleep(PACE)


async def _set(state: PollyState, user: str, step: int) -> tuple[str, int]:
    await state.map("v", int).set(user, step)
    return f"v:{{{user}}}", step


async def _get(state: PollyState, user: str) -> None:
    await state.map("v", int).get(user)


async def _turn(state: PollyState, user: str) -> tuple[str, bool]:
    return f"s:{{{user}}}", await state.fields("s", bool).toggle(user, "on")


async def _add(state: PollyState, user: str) -> tuple[str, int]:
    return f"c:{{{user}}}", await state.counters("c").add(user)


async def _timed(found: Run, call: Coroutine[Any, Any, tuple[str, int] | None]) -> None:
    began = perf_counter()
    try:
        told = await call
    except StateError as error:
        found.refused[found.phase] += 1
        found.doubtful += error.maybe_applied
    else:
        found.times[found.phase].append(perf_counter() - began)
        if told is not None:
            key, value = told
            found.told[key] = str(value).lower().encode()


async def _lost(url: str, told: dict[str, bytes]) -> int:
    async with redis.Redis.from_url(url) as client:
        pipeline = client.pipeline(transaction=False)
        for key in told:
            _ = pipeline.hget(f"{NAMESPACE}:{key}", "on") if key[0] == "s" else pipeline.get(f"{NAMESPACE}:{key}")
        held = await pipeline.execute()
    return sum(each != content for each, content in zip(held, told.values(), strict=True))


def _note(report: Report, fault: str, journal: str, runs: list[Run]) -> None:
    about = {"fault": fault, "journal": journal}
    for phase in PHASES:
        times = [seconds for each in runs for seconds in each.times[phase]]
        answered = {"answered": len(times), "refused": sum(each.refused[phase] for each in runs)}
        report.rows.append(row_of_times(OURS, phase, TASKS, times, **about, **answered))
    whole = {
        "pending": round(median(each.pending for each in runs)),
        "replay_s": round(median(each.pending / each.marks["replay"] for each in runs)),
        "stall_us": round(max(each.stall for each in runs) * MICRO),
        "lost": sum(each.lost for each in runs),
        "doubtful": sum(each.doubtful for each in runs),
    }
    for mark in ("open", "close", "drain"):
        extra = whole if mark == "drain" else {}
        report.rows.append(row_of_times(OURS, mark, TASKS, [each.marks[mark] for each in runs], **about, **extra))
