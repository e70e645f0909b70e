"""What a server that hangs or dies costs the bot, how soon it is noticed, and how soon it is over.

get_open, set_open    A call by one task while the breaker is open, each by itself: a typed get of a
                      value that was seen before, and a durable set. The server is frozen all the time.
frozen_call           Fifty tasks get a value each millisecond, and the server is frozen: the longest
                      call of each freeze, begun before or after it. For the peers, the same with what
                      they come with: the longest call, given up by us after two seconds.
freeze_to_open        From the freeze to the circuit being open, each freeze.
thaw_to_connected     From the thaw of a server that was frozen for some seconds to the mode being
                      `connected` again, of several states in each outage; every one of them has
                      writes to replay.
restart_to_connected  The same from the moment a killed server answers again.

All of them have values of 10 fields. The promises are ratios too: "set_open_p99/promise" is the
promised time through the time it took, so that 1 or more holds it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import Any

from benchmarks.contestants import CONTESTANTS, OURS, PEERS
from benchmarks.run import Plan, Report, new_server, opened, quantile, row_of_times
from benchmarks.values import IDS, profile
from benchmarks.watch import Watch
from polly_state import Mode, PollyState, Settings
from polly_state.testing import Server

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=5, seconds=2.5)
VALUE = profile(10)
TASKS = 50
STATES = 6
CALLS = 20_000
PACE = 0.001
GIVEN_UP = 2.0
PROMISED = {
    "get_open_p99": 50e-6,
    "set_open_p99": 1e-3,
    "frozen_call_max": Settings().deadlines.operation + 0.005,
    "freeze_to_open_max": 0.3,
    "thaw_to_connected_max": 1.25,
    "restart_to_connected_max": 1.25,
}


async def run(plan: Plan) -> Report:
    # Peers write tracebacks of every call that an outage costs them.
    logging.disable(logging.ERROR)
    report = Report("degraded")
    async with new_server() as server:
        await _while_open(report, server)
        await _freezes(report, server, plan)
        await _recoveries(report, server, plan)
        await _peers(report, server)
    return report


async def _while_open(report: Report, server: Server) -> None:
    async with started(server) as (state, _):
        handle = state.map("profiles", type(VALUE))
        for user in IDS:
            await handle.set(user, VALUE)
        server.freeze()
        try:
            await _until(lambda: state.mode is Mode.DEGRADED, handle.get)
            gets = await _timed(handle.get)
            sets = await _timed(handle.set, VALUE)
            assert state.mode is Mode.DEGRADED
        finally:
            server.thaw()
    _note(report, "get_open", 1, gets, 99)
    _note(report, "set_open", 1, sets, 99)


async def _freezes(report: Report, server: Server, plan: Plan) -> None:
    longest, opening = [], []
    for _ in range(plan.rounds):
        async with started(server) as (state, watch):
            handle = state.map("profiles", type(VALUE))
            for user in IDS:
                await handle.set(user, VALUE)
            async with _traffic(handle.get) as calls:
                await asyncio.sleep(0.2)
                server.freeze()
                frozen = perf_counter()
                try:
                    await asyncio.sleep(1.0)
                finally:
                    server.thaw()
            longest.append(max(calls))
            opening.append(watch.entered[Mode.DEGRADED] - frozen)
    _note(report, "frozen_call", TASKS, longest, 100)
    _note(report, "freeze_to_open", TASKS, opening, 100)


async def _recoveries(report: Report, server: Server, plan: Plan) -> None:
    thawed, restarted = [], []
    for _ in range(plan.rounds):
        async with AsyncExitStack() as stack:
            many = [await stack.enter_async_context(started(server)) for _ in range(STATES)]
            states = [state for state, _ in many]
            server.freeze()
            await _outage(states, plan)
            server.thaw()
            thawed += await _reconnected(many, perf_counter())
            await asyncio.to_thread(server.kill)
            await _outage(states, plan)
            await asyncio.to_thread(server.start)
            restarted += await _reconnected(many, perf_counter())
    _note(report, "thaw_to_connected", 1, thawed, 100)
    _note(report, "restart_to_connected", 1, restarted, 100)


async def _peers(report: Report, server: Server) -> None:
    ours = next(line for line in report.rows if line["op"] == "frozen_call")["max_us"]
    async with opened(server.url, report.skipped, [n for n in CONTESTANTS if n in PEERS]) as peers:
        for name, make in peers.items():
            job = make(VALUE)
            for user in IDS:
                await job.set(user, VALUE)
            longest = await _longest_frozen(server, job.get)
            report.rows.append(row_of_times(name, "frozen_call", TASKS, [longest], fields=10))
            report.ratios[f"frozen_call/{name}@{TASKS}"] = round(longest * 1e6 / ours, 2)


async def _longest_frozen(server: Server, get: Callable[[str], Awaitable[Any]]) -> float:
    async def bounded(user: str) -> None:
        async with asyncio.timeout(GIVEN_UP):
            await get(user)

    async with _traffic(bounded) as calls:
        await asyncio.sleep(0.2)
        server.freeze()
        try:
            await asyncio.sleep(GIVEN_UP + 0.1)
        finally:
            server.thaw()
    return max(calls)


@asynccontextmanager
async def started(server: Server):
    watch = Watch()
    settings = Settings.from_url(server.url, namespace="degraded")
    async with PollyState(settings, observers=[watch]) as state:
        yield state, watch


@asynccontextmanager
async def _traffic(get: Callable[[str], Awaitable[Any]]):
    """Fifty tasks that call each millisecond; the times of their calls, whatever became of them."""
    calls: list[float] = []

    async def work(number: int) -> None:
        while not over.is_set():
            began = perf_counter()
            # What a call came to is not measured here; how long it took is.
            await asyncio.gather(get(IDS[number]), return_exceptions=True)
            calls.append(perf_counter() - began)
            await asyncio.sleep(PACE)

    over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for number in range(TASKS):
            tasks.create_task(work(number))
        yield calls
        over.set()


async def _timed(call: Callable[..., Awaitable[Any]], *arguments: Any) -> list[float]:
    times = []
    for number in range(CALLS):
        user = IDS[number % len(IDS)]
        began = perf_counter()
        await call(user, *arguments)
        times.append(perf_counter() - began)
        # A call that is answered here never waits: the canary needs its turn.
        await asyncio.sleep(0)
    return times


async def _outage(states: Iterable[PollyState], plan: Plan) -> None:
    """Let every state notice, write something to replay, and wait long enough for slow probes."""
    for state in states:
        handle = state.map("profiles", type(VALUE))
        await _until(lambda state=state: state.mode is Mode.DEGRADED, handle.get)
        for user in IDS:
            await handle.set(user, VALUE)
    # At no particular moment between two probes.
    await asyncio.sleep(plan.seconds + random.random())


async def _reconnected(many: list[tuple[PollyState, Watch]], healed: float) -> list[float]:
    async with asyncio.timeout(10):
        for state, watch in many:
            while state.mode is not Mode.CONNECTED:
                await watch.changed.wait()
    return [max(0.0, watch.entered[Mode.CONNECTED] - healed) for _, watch in many]


async def _until(condition: Callable[[], bool], get: Callable[[str], Awaitable[Any]]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.gather(get(IDS[0]), return_exceptions=True)
            await asyncio.sleep(0)


def _note(report: Report, op: str, tasks: int, times: list[float], percent: int) -> None:
    report.rows.append(row_of_times(OURS, op, tasks, times, fields=10))
    figure = f"{op}_max" if percent == 100 else f"{op}_p{percent}"
    report.ratios[f"{figure}/promise"] = round(PROMISED[figure] / quantile(times, percent), 3)
