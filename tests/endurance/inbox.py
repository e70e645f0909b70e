"""Messages of producers to consumers that are killed and cancelled: each is handled, and repetitions say so."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio.to_thread
from redis.asyncio import Redis

from polly_state.testing import Server
from tests.endurance.crew import Crew, Member
from tests.endurance.notes import noted
from tests.endurance.worker import INBOX

PRODUCERS = 2
CONSUMERS = 3
EACH = 10**9
"""Numbers of one producer."""


async def run(
    binary: Path, folder: Path, messages: int, *, pause: float, visibility: float, seed: int
) -> dict[str, Any]:
    """Let *messages* be sent and handled, killing somebody every *pause* seconds; what came of it."""
    lots, began = random.Random(seed), time.monotonic()
    namespace = f"endurance-{secrets.token_hex(4)}"
    key = f"{namespace}:inboxes:{{{INBOX}}}"
    async with Server(binary) as server, Crew(folder) as crew, Redis.from_url(server.url) as client:
        shared = {"url": server.url, "namespace": namespace, "visibility": visibility, "pause": pause / 4}
        consumers = await crew.hire(CONSUMERS, job="consume", tasks=4, **shared)
        work = {"job": "produce", "tasks": 4, "messages": messages // PRODUCERS}
        producers = [(await crew.hire(1, first=number * EACH, **work, **shared))[0] for number in range(PRODUCERS)]
        paths = [Path(member.plan.notes) for member in consumers + producers]
        kills = Counter[str]()
        while not all(producer.finished for producer in producers):
            await asyncio.sleep(lots.uniform(0.5, 1.5) * pause)
            busy = [each for each in producers if not each.finished]
            # However short it is, one of each is killed.
            victim = lots.choice(busy if busy and not kills["produce"] else consumers + busy)
            kills[victim.plan.job] += 1
            await crew.replace(victim, **(await _what_is_left(victim, messages // PRODUCERS)))
        async with asyncio.timeout(20 * visibility + messages / 500):
            while await client.exists(key):
                await asyncio.sleep(0.05)
        await asyncio.gather(*(member.end() for member in consumers + producers))
        dead = await client.xlen(key.replace(":inboxes:", ":inboxes.dead:"))
    found = await anyio.to_thread.run_sync(lambda: _judged(paths))
    line = {"run": "inbox", "messages": messages, **found, "dead": dead, "kills": dict(kills)}
    broken = found["lost"] + found["unmarked"] + found["unknown"] + dead
    return line | {"seconds": round(time.monotonic() - began, 1), "ok": not broken and found["sent"] >= messages}


async def _what_is_left(member: Member, messages: int) -> dict[str, int]:
    """How a producer goes on where it was killed."""
    if member.plan.job == "consume":
        return {}
    await member.kill()
    path = [Path(member.plan.notes)]
    begun, sent = await anyio.to_thread.run_sync(lambda: (noted(path, "begun"), noted(path, "sent")))
    first = max((int(number) + 1 for (number,) in begun), default=member.plan.first)
    return {"first": first, "messages": max(0, messages - len(sent))}


def _judged(paths: list[Path]) -> dict[str, int]:
    sent = {int(number) for (number,) in noted(paths, "sent")}
    begun = {int(number) for (number,) in noted(paths, "begun")}
    handled = [(int(number), int(deliveries)) for number, deliveries in noted(paths, "handled")]
    return judge(begun, sent, handled)


def judge(begun: set[int], sent: set[int], handled: Iterable[tuple[int, int]]) -> dict[str, int]:
    """What is wrong: messages that were acknowledged to their sender and never handled, or twice without a mark."""
    times, first = Counter[int](), Counter[int]()
    for number, deliveries in handled:
        times[number] += 1
        first[number] += deliveries == 1
    return {
        "sent": len(sent),
        "handled": len(times),
        "repeated": sum(times.values()) - len(times),
        "lost": len(sent - times.keys()),
        "unmarked": sum(count - 1 for count in first.values() if count > 1),
        "unknown": len(times.keys() - begun),
    }
