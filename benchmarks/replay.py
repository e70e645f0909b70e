"""How fast kept writes go to Redis when it returns, and what that costs those who use it meanwhile.

replay    20 000 durable writes of keys of their own, kept while there was no server: from the first
          moment of recovery to the last reply. One time for each round; `kept_s` are writes a second.
user_get  Twenty tasks, each of which gets a value of a key that was not kept, with a millisecond
user_set  between its calls, and sets it: calls that were begun during the recovery.

With the journal in memory and in a directory. After each round another client has read back every
kept write: `lost` counts those that are not there. `stall_us` is the longest that the loop let others
wait. Ratios are promised to measured, so that 1 or more holds it: 5 000 writes a second, and a p99 of
50 ms for the users. The replay slows itself down to 10 000 writes a second for their sake.
"""

from __future__ import annotations

import asyncio
import logging
from statistics import median
from time import perf_counter

import redis.asyncio as redis

from benchmarks.contestants import OURS
from benchmarks.degraded_write import JOURNALS, NAMESPACE, degraded, kept_in
from benchmarks.run import MICRO, Plan, Report, new_server, quantile, row_of_times
from benchmarks.watch import Watch, watched
from polly_state import Mode, PollyState

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=3, seconds=1.0)
KEPT = 20_000
USERS = 20
PACE = 0.001
RATE = 5000
USER_P99 = 0.050
CHUNK = 500


async def run(plan: Plan) -> Report:
    report = Report("replay")
    logging.disable()
    # `seconds` scales the number of writes, for who wants a quick look.
    kept = int(KEPT * plan.seconds)
    for journal in JOURNALS:
        rounds = [await _round(journal, kept) for _ in range(plan.rounds)]
        took, gets, sets, stalls, lost = map(list, zip(*rounds, strict=True))
        extra = {"journal": journal, "stall_us": round(median(stalls) * MICRO), "lost": sum(lost)}
        speed = {"kept_s": round(kept / median(took))}
        report.rows.append(row_of_times(OURS, "replay", 1, took, **extra, **speed))
        report.ratios[f"kept_s/{journal}@1"] = round(kept / median(took) / RATE, 2)
        for op, times in (("user_get", gets), ("user_set", sets)):
            flat = [seconds for each in times for seconds in each]
            report.rows.append(row_of_times(OURS, op, USERS, flat, **extra))
            reached = median(quantile(each, 99) for each in times)
            report.ratios[f"{op}_p99/{journal}@{USERS}"] = round(USER_P99 / reached, 2)
    return report


async def _round(journal: str, kept: int) -> tuple[float, list[float], list[float], float, int]:
    watch = Watch()
    with kept_in(journal) as directory:
        server = new_server()
        async with degraded(server.url, directory, watch) as state:
            handle = state.map("kept", int)
            for number in range(kept):
                await handle.set(number, number)
                await asyncio.sleep(0)
            async with server:
                found = await _recovery(state, watch)
                return *found, await _missing(server.url, kept)


async def _recovery(state: PollyState, watch: Watch) -> tuple[float, list[float], list[float], float]:
    handle = state.map("users", int)
    gets: list[float] = []
    sets: list[float] = []

    async def use(number: int) -> None:
        while state.mode is not Mode.CONNECTED:
            recovering = state.mode is Mode.RECOVERING
            began = perf_counter()
            await handle.set(number, number)
            between = perf_counter()
            await handle.get(number)
            if recovering:
                sets.append(between - began)
                gets.append(perf_counter() - between)
            await asyncio.sleep(PACE)

    async with watched() as stall, asyncio.timeout(60):
        await asyncio.gather(*(use(number) for number in range(USERS)))
    return watch.entered[Mode.CONNECTED] - watch.entered[Mode.RECOVERING], gets, sets, stall.longest


async def _missing(url: str, kept: int) -> int:
    missing = 0
    async with redis.Redis.from_url(url) as client:
        for first in range(0, kept, CHUNK):
            numbers = range(first, min(first + CHUNK, kept))
            found = await client.mget([f"{NAMESPACE}:kept:{{{number}}}" for number in numbers])
            missing += sum(content != str(number).encode() for content, number in zip(found, numbers, strict=True))
    return missing
