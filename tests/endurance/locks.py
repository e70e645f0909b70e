"""Locks of processes that are stopped, on a server that forgets and loses replies: no fenced writes overlap."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio.to_thread
from redis.asyncio import Redis

from benchmarks.run import quantile
from polly_state import Address, Deadlines, PollyState, Settings
from polly_state.testing import FaultProxy, Server
from tests.endurance.crew import Crew, Member
from tests.endurance.notes import noted
from tests.endurance.worker import ENDED, NAMES, PATIENCE

PROCESSES = 8
LIFETIME = 0.4
STILL = 1.5
"""How many lifetimes a holder is stopped for."""


async def run(binary: Path, folder: Path, cycles: int, *, pause: float, losses: int, seed: int) -> dict[str, Any]:
    """Let *cycles* be done, with faults every *pause* seconds, then lose *losses* replies; what came of it."""
    lots, began, faults = random.Random(seed), time.monotonic(), Counter[str]()
    async with (
        Server(binary) as server,
        Server(binary) as guarded,
        FaultProxy(server.url) as proxy,
        Crew(folder) as crew,
        Redis.from_url(server.url) as client,
        Redis.from_url(guarded.url) as register,
    ):
        shared = {"url": proxy.url, "namespace": "endurance", "register": guarded.url, "lifetime": LIFETIME}
        members = await crew.hire(PROCESSES, job="lock", **shared)
        while int(await register.get(ENDED) or 0) < cycles:
            await asyncio.sleep(lots.uniform(0.5, 1.5) * pause)
            stopped = await _holders(members, register, lots)
            for member in stopped:
                member.pause()
            faults["stopped"] += len(stopped)
            ends = time.monotonic() + STILL * LIFETIME
            while time.monotonic() < ends:
                proxy.drop_replies()
                await asyncio.sleep(0.005)
                proxy.heal()
                faults["lossy"] += 1
                await asyncio.sleep(0.1)
            if not faults["flushed"] or lots.random() < 0.5:
                await client.flushdb()
                faults["flushed"] += 1
            for member in stopped:
                member.resume()
        await asyncio.gather(*(member.end() for member in members))
        written = {
            name: [tuple(line.decode().split()) for line in await register.lrange(f"written:{name}", 0, -1)]
            for name in NAMES
        }
        lost = await lose_replies(proxy, client, losses)
    paths = [Path(member.plan.notes) for member in members]
    held = [
        (name, float(asked), float(at), int(fence))
        for name, asked, at, fence in await anyio.to_thread.run_sync(lambda: noted(paths, "held"))
    ]
    outcomes = Counter(word for (word,) in noted(paths, "outcome"))
    line = {
        "run": "locks",
        "cycles": sum(what == "end" for lines in written.values() for *_, what in lines),
        "overlaps": sum(overlaps(lines) for lines in written.values()),
        "fences_back": fences_back(held),
        "outcomes": dict(outcomes),
        "faults": dict(faults),
        "lost_replies": len(lost),
        "lost_reply_ms": {f"p{part}": round(quantile(lost, part) * 1000, 1) for part in (50, 99, 100)},
        "seconds": round(time.monotonic() - began, 1),
    }
    return line | {"ok": line["cycles"] >= cycles and line["overlaps"] == line["fences_back"] == 0}


async def _holders(members: list[Member], register: Redis, lots: random.Random) -> list[Member]:
    """Those who wrote last to two of the resources, and one more."""
    last = [await register.lindex(f"written:{name}", -1) for name in lots.sample(NAMES, 2)]
    holders = {int(line.split()[1]) for line in last if line is not None}
    return [each for each in members if each.plan.seed in holders | {lots.randrange(PROCESSES)}]


async def lose_replies(proxy: FaultProxy, client: Redis, losses: int) -> list[float]:
    """Seconds from the end of a connection that lost the reply to an acquisition until the lock is there."""
    times: list[float] = []
    namespace = f"lossy-{secrets.token_hex(4)}"
    # On a busy machine the reply may be lost for long before the connection ends.
    deadlines = Deadlines(operation=PATIENCE, connect=PATIENCE)
    settings = Settings(address=Address.parse(proxy.url), namespace=namespace, deadlines=deadlines, processes=1)
    async with PollyState(settings, observers=()) as state:
        for number in range(losses):
            # Nothing else is under way, and the connection is there.
            await (await state.locks().acquire("warm")).release()
            proxy.drop_replies()
            acquiring = asyncio.create_task(state.locks().acquire(number, timeout=0))
            key = f"{namespace}:locks:{{{number}}}"
            while not (fence := await client.hget(key, "fence")):
                await asyncio.sleep(0.001)
            proxy.heal()
            began = time.perf_counter()
            lease = await acquiring
            times.append(time.perf_counter() - began)
            assert (lease.held, lease.fence) == (True, int(fence)), "it was acquired a second time"
            await lease.release()
    return times


def overlaps(lines: Sequence[Sequence[str]]) -> int:
    """How many writes of a resource, in their order, came between a beginning and its end, or shared a fence."""
    owners: dict[str, str] = {}
    shared = sum(owners.setdefault(fence, owner) != owner for fence, owner, _ in lines)
    back = sum(int(after[0]) < int(before[0]) for before, after in pairwise(lines))
    torn = sum(
        at == 0 or tuple(lines[at - 1]) != (fence, owner, "begin")
        for at, (fence, owner, what) in enumerate(lines)
        if what == "end"
    )
    return shared + back + torn


def fences_back(held: Iterable[tuple[str, float, float, int]]) -> int:
    """How many holders, asking after another already had the lock, were given a fence that is not above that one's.

    Each is the name of the lock, when it was asked for, when it was there, and the fence.
    """
    found = 0
    ordered = sorted(held, key=lambda each: each[1])
    for name in {each[0] for each in ordered}:
        asked = [each for each in ordered if each[0] == name]
        there = sorted(asked, key=lambda each: each[2])
        at = highest = 0
        for _, began, _, fence in asked:
            while there[at][2] < began:
                highest = max(highest, there[at][3])
                at += 1
            found += fence <= highest
    return found
