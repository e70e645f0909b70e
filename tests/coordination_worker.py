"""A process that limits itself: `coordination_worker.py URL NAMESPACE JOB ARGUMENT`, results as JSON.

It says "ready", and begins when it is told to on its standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from polly_state import Deadlines, PollyState, Quota, Rule, Settings
from polly_state.address import Address

CALLERS = 50
PROCESSES = 4
PATIENCE = 20.0
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


JOBS = {"admit": admit, "ask": ask_on}


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
