"""A process that limits itself, or locks: `coordination_worker.py URL NAMESPACE JOB ARGUMENT`, results as JSON.

It says "ready", and begins when it is told to on its standard input.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sys
import time
from pathlib import Path

from polly_state import Deadlines, LeaseLost, PollyState, Quota, Rule, Settings, StoreUnavailable
from polly_state.address import Address

CALLERS = 50
PROCESSES = 4
PATIENCE = 20.0
LOCK_TTL = 0.4
PACE = 0.003
WINDOW = 0.7


async def main(url: str, namespace: str, job: str, argument: str) -> None:
    # Many processes on few cores: to be late is no outage where none is wanted.
    deadlines = Deadlines(operation=PATIENCE, connect=PATIENCE) if job == "admit" else Deadlines()
    settings = Settings(address=Address.parse(url), namespace=namespace, processes=PROCESSES, deadlines=deadlines)
    async with PollyState(settings, observers=()) as state:
        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        say(await JOBS[job](state, argument))


async def admit(state: PollyState, limit: str) -> list[tuple[bool, int]]:
    """Ask from many callers at once, far more often than is allowed."""
    limits = state.limiter("api", Rule("even", int(limit), 864_000), Quota("day", int(limit), 8_640_000))
    each = 2 * int(limit) // CALLERS // PROCESSES

    async def caller() -> list[tuple[bool, int]]:
        return [(await limits.admit("x"))[:2] for _ in range(each)]

    found = await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return [decision for decisions in found for decision in decisions]


async def ask_on(state: PollyState, seconds: str) -> dict[str, list[float]]:
    """Ask all the time; when it was admitted, by whom, in seconds of the host's monotonic clock."""
    limits = state.limiter("api", Rule("window", 100, WINDOW))
    admitted: dict[str, list[float]] = {"redis": [], "share": []}
    ends = time.monotonic() + float(seconds)
    while (now := time.monotonic()) < ends:
        decision = await limits.admit("x")
        if decision.allowed:
            admitted[decision.origin.value].append(now)
        await asyncio.sleep(PACE)
    return admitted


async def lock(state: PollyState, name: str) -> dict[str, int]:
    """Write under a lock until there is a file that says stop: each time a beginning and an end, with the fence."""
    locks = state.locks("work", ttl=LOCK_TTL)
    outcomes = {"done": 0, "refused": 0, "lost": 0, "away": 0}
    path = Path(name)
    while not stopped(path):
        try:
            async with locks.hold("a", timeout=5) as lease:
                begun = write(path, lease.fence, "begin")
                # Some hold it for long, so that they are stopped, and flushed away, in the middle.
                await asyncio.sleep(0.05 if lease.fence % 8 == 0 else 0.001)
                outcomes["done" if begun and write(path, lease.fence, "end") else "refused"] += 1
        except LeaseLost:
            outcomes["lost"] += 1
        except StoreUnavailable:
            outcomes["away"] += 1
            await asyncio.sleep(0.005)
    return outcomes


def stopped(path: Path) -> bool:
    return path.with_suffix(".stop").exists()


def write(path: Path, fence: int, what: str) -> bool:
    """What a fenced resource does: refuse who comes with a lower fence than it has seen."""
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(max(0, path.stat().st_size - 200))
        last = file.read().splitlines()
        if last and int(last[-1].split()[0]) > fence:
            return False
        file.write(f"{fence} {os.getpid()} {what}\n")
        return True


JOBS = {"admit": admit, "ask": ask_on, "lock": lock}


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
