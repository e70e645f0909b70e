"""How much a process grows by when a million different keys are read through a cache with a near one.

The values are in Redis; 50 tasks of a process of its own call `get_or_load` for each key once, and none loads. `mb` is
how much that process had grown at most since the cache was open. Beside the near cache there is the mirror, what was
last seen of Redis, for an outage: with all bounds as they come ("default"), and with a near cache of 50 MiB beside a
mirror as it comes ("mirror 64") and one with `local_bytes` of 8 MiB ("mirror 8"). "promise" is 80 MB through that.
"""

from __future__ import annotations

import asyncio
import sys

from benchmarks.run import Plan, Report, new_server

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=1, seconds=0.0)
KEYS, CHUNK, PROMISED_MB = 1_000_000, 1000, 80
#: By name, what the near cache is given, and all that is held in process; in MiB, nothing for the defaults.
GIVEN: dict[str, tuple[int, int] | None] = {"default": None, "mirror 64": (50, 64), "mirror 8": (50, 8)}
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

async def main(url, *given):
    settings = Settings.from_url(url, namespace="{NAMESPACE}")
    bounds = settings.bounds
    if given:
        near, local = (int(each) * 2**20 for each in given)
        bounds = replace(bounds, near_entries=10_000_000, near_bytes=near, local_bytes=local)
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

asyncio.run(main(*sys.argv[1:]))
"""


async def run(_: Plan) -> Report:
    report = Report("memory")
    if sys.platform != "linux":
        report.skipped["ours"] = "only Linux tells in /proc how large a process is"
        return report
    async with new_server() as server:
        await _fill(server.url)
        for name, given in GIVEN.items():
            words = (sys.executable, "-c", READ, server.url, *map(str, given or ()))
            process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
            grown, _ = await process.communicate()
            mb = round(float(grown), 1)
            report.rows.append({"contestant": "ours", "op": name, "tasks": 50, "mb": mb})
            report.ratios[f"{name}/promise@50"] = round(PROMISED_MB / float(grown), 2)
    return report


async def _fill(url: str) -> None:
    from polly_state import PollyState, Settings

    async with PollyState(Settings.from_url(url, namespace=NAMESPACE)) as state:
        users = state.cache.family("users", ttl=86_400)
        for start in range(0, KEYS, CHUNK):
            await users.set_many(
                {n: {"id": n, "name": f"user {n}", "roles": [n]} for n in range(start, start + CHUNK)},
            )
