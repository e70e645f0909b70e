"""What it costs to import and to start, in fresh processes, in turns.

import  The time of the import alone, with the class that all begins with, after `import asyncio` and with
        the bytecode of all compiled before; that of asyncio itself is there to compare with.
        `redis_imported` says whether redis-py came along.
start   The time from then to the first reply, with what is imported only now: for ours
        `PollyState.start()`, for redis_py a client and a PING.

A row holds the median and the slowest of the processes, `best_us` and `cpu_us` the fastest and the
least processor time; `rss_mib` is what the process has grown by in that step. Ratios are theirs to
ours, the median over the rounds; "import/promise" is the promised 25 ms through our best.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from importlib.util import find_spec
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.contestants import OURS
from benchmarks.run import Plan, Report, micro, new_server, paired, row_of_times, turns

__all__ = ["PLAN", "run"]

ASYNCIO = "asyncio"
PLAN = Plan(rounds=11, seconds=0.0)
PROMISED = 0.025
PROBE = """
import json, sys
from time import perf_counter, process_time

def resident():
    try:
        with open("/proc/self/statm") as pages:
            return int(pages.read().split()[1]) * 4096 / 2**20
    except OSError:
        return 0.0

class Stopwatch:
    def __init__(self):
        self.memory, self.cpu, self.time = resident(), process_time(), perf_counter()

    def read(self):
        took = perf_counter() - self.time
        return dict(time=took, cpu=process_time() - self.cpu, rss=resident() - self.memory)

{before}
watch = Stopwatch()
{imports}
imported = dict(watch.read(), redis="redis" in sys.modules)

async def start():
    {start}

import asyncio
watch = Stopwatch()
asyncio.run(start())
print(json.dumps(dict([("import", imported), ("start", watch.read())])))
"""
IMPORTS = {
    OURS: "import polly_state; polly_state.PollyState",
    ASYNCIO: "import asyncio",
    "redis_py": "import redis.asyncio",
    "coredis": "import coredis",
    "valkey_glide": "import glide",
    "cashews": "import cashews",
    "aiocache": "import aiocache; from aiocache import RedisCache",
}
STARTS = {
    OURS: "await polly_state.PollyState(polly_state.Settings.from_url({url!r})).start()",
    "redis_py": "await redis.asyncio.Redis.from_url({url!r}).ping()",
}


async def run(plan: Plan) -> Report:
    report = Report("startup")
    names = []
    for name, line in IMPORTS.items():
        if find_spec(line.split()[1].partition(".")[0].rstrip(";")) is None:
            report.skipped[name] = "it is not installed"
        else:
            names.append(name)
    found: dict[str, list[Any]] = {name: [] for name in names}
    async with new_server() as server, AsyncExitStack() as stack:
        compiled = stack.enter_context(TemporaryDirectory())
        for name in names:
            await asyncio.to_thread(_probe, name, server.url, compiled)
        for name in turns(names, plan.rounds):
            found[name].append(await asyncio.to_thread(_probe, name, server.url, compiled))
    _note(report, "import", found)
    _note(report, "start", {name: probes for name, probes in found.items() if name in STARTS})
    best = min(probe["import"]["time"] for probe in found[OURS])
    report.ratios["import/promise"] = round(PROMISED / best, 2)
    return report


def _probe(name: str, url: str, compiled: str) -> Any:
    before = "" if name == ASYNCIO else "import asyncio"
    start = STARTS.get(name, "pass").format(url=url)
    code = PROBE.format(before=before, imports=IMPORTS[name], start=start)
    # Where bytecode is not to be written, every import would compile the sources anew.
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environ["PYTHONPYCACHEPREFIX"] = compiled
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=environ)
    return json.loads(done.stdout)


def _note(report: Report, op: str, found: dict[str, list[Any]]) -> None:
    times = {name: [probe[op]["time"] for probe in probes] for name, probes in found.items()}
    for name, probes in found.items():
        measured = [probe[op] for probe in probes]
        extra = {
            "best_us": micro([min(times[name])]),
            "cpu_us": micro([min(one["cpu"] for one in measured)]),
            "rss_mib": round(median(one["rss"] for one in measured), 2),
            "redis_imported": measured[0].get("redis"),
        }
        report.rows.append(row_of_times(name, op, 1, times[name], **extra))
        if name != OURS:
            report.ratios[f"{op}/{name}"] = paired(times[name], times[OURS])
