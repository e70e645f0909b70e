"""How much a process grows by when a million different keys are read through a near cache of 50 MB.

The values are in Redis; 50 tasks of a process of its own call `get_or_load` for each key once, and none loads. `mb` is
how much that process had grown at most since the cache was open. Beside the near cache there is the mirror, what was
last seen of Redis, for an outage: with its own bounds as they come ("mirror 64") and with `local_bytes` of 8 MiB
("mirror 8"). "promise" is 80 MB through that.
"""

from __future__ import annotations

import asyncio
import sys

from benchmarks.run import Plan, Report, new_server

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=1, seconds=0.0)
KEYS, CHUNK, NEAR_MB, PROMISED_MB = 1_000_000, 1000, 50, 80
MIRRORS = (64, 8)
NAMESPACE = "memory"

READ = f"""
import asyncio, gc, sys
from dataclasses import replace
from polly_state import PollyState, Settings

def resident():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * 4096 / 2**20

async def load(_):
    raise AssertionError("it is there")

async def main(url, mirror):
    settings = Settings.from_url(url, namespace="{NAMESPACE}")
    bounds = replace(settings.bounds, near_entries=10_000_000, near_bytes={NEAR_MB} * 2**20, local_bytes=mirror * 2**20)
    async with PollyState(replace(settings, bounds=bounds)) as state:
        users, ids, most = state.cache.family("users", ttl=86_400), iter(range({KEYS})), 0.0
        for _ in range(1000):
            await users.get("nobody")
        gc.collect()
        before = resident()

        async def work():
            nonlocal most
            for number in ids:
                await users.get_or_load(number, load)
                if not number % 10_000:
                    most = max(most, resident() - before)

        await asyncio.gather(*(work() for _ in range(50)))
        assert state.statistics().near.evictions
        print(most)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


async def run(_: Plan) -> Report:
    report = Report("memory")
    if sys.platform != "linux":
        report.skipped["ours"] = "only Linux tells in /proc how large a process is"
        return report
    async with new_server() as server:
        await _fill(server.url)
        for mirror in MIRRORS:
            words = (sys.executable, "-c", READ, server.url, str(mirror))
            process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
            grown, _ = await process.communicate()
            mb = round(float(grown), 1)
            report.rows.append({"contestant": "ours", "op": f"mirror {mirror}", "tasks": 50, "mb": mb})
            report.ratios[f"mirror {mirror}/promise@50"] = round(PROMISED_MB / float(grown), 2)
    return report


async def _fill(url: str) -> None:
    from polly_state import PollyState, Settings

    async with PollyState(Settings.from_url(url, namespace=NAMESPACE)) as state:
        users = state.cache.family("users", ttl=86_400)
        for start in range(0, KEYS, CHUNK):
            await users.set_many(
                {n: {"id": n, "name": f"user {n}", "roles": [n]} for n in range(start, start + CHUNK)},
            )
