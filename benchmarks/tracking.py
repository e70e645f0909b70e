"""What it costs the server to tell of changes: writes of 100 000 keys, all read before by so many clients.

none       Nobody is told of anything.
prefix     Eight clients follow the prefix of the keys (BCAST), as ours do.
unrelated  Eight clients follow another prefix: what is written is not theirs.
by_key     Eight clients are told of the keys that they have read (the default mode).

`server_us` is the processor time of the server for one write, `memory_mb` what the server has grown by for the
clients having read all keys, `pushed` how many bytes of messages one client got for one write.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from typing import Any

from benchmarks.run import Plan, Report, new_server
from polly_state.testing.loopback import parse

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=1, seconds=0.0)
KEYS, CHUNK, CLIENTS = 100_000, 100, 8
SETTLED = 0.3
MODES = {
    "none": None,
    "prefix": "CLIENT TRACKING ON BCAST PREFIX polly:cache",
    "unrelated": "CLIENT TRACKING ON BCAST PREFIX other:cache",
    "by_key": "CLIENT TRACKING ON",
}


class Follower:
    """A client that is told, and counts what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard = 0
        self._reader = reader
        self._writer = writer
        self._task = asyncio.create_task(self._listen(), name="follower")

    async def say(self, *lines: str) -> None:
        self._writer.write("".join(f"{line}\r\n" for line in lines).encode())
        await self._writer.drain()

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()

    async def _listen(self) -> None:
        while chunk := await self._reader.read(1 << 20):
            self.heard += len(chunk)


async def run(plan: Plan) -> Report:
    report = Report("tracking")
    for mode, command in MODES.items():
        found = []
        for _ in range(plan.rounds):
            async with new_server() as server:
                found.append(await _measure(server.url, command))
        medians = {name: median(each[name] for each in found) for name in found[0]}
        report.rows.append({"contestant": mode, "op": "write", "tasks": CLIENTS} | medians)
    return report


async def _measure(url: str, command: str | None) -> dict[str, float]:
    from redis.asyncio import Redis

    keys = [f"polly:cache.users:{{{number}}}" for number in range(KEYS)]
    async with Redis.from_url(url) as client, _followers(url, command) as followers:
        await _write(client, keys)
        before = await client.info("memory")
        for start in range(0, KEYS, CHUNK):
            await asyncio.gather(
                *(each.say(*(f"GET {key}" for key in keys[start : start + CHUNK])) for each in followers)
            )
        await _settled(followers)
        after = await client.info("memory")
        began, heard = await _processor(client), followers[0].heard
        await _write(client, keys)
        await _settled(followers)
        return {
            "server_us": round((await _processor(client) - began) / KEYS * 1e6, 2),
            "memory_mb": round((after["used_memory_dataset"] - before["used_memory_dataset"]) / 2**20, 1),
            "pushed": round((followers[0].heard - heard) / KEYS, 1),
        }


@asynccontextmanager
async def _followers(url: str, command: str | None) -> AsyncIterator[list[Follower]]:
    where = parse(url)
    async with AsyncExitStack() as stack:
        followers = []
        for _ in range(CLIENTS):
            follower = Follower(*await asyncio.open_connection(where.host, where.port))
            stack.push_async_callback(follower.aclose)
            await follower.say("HELLO 3", *([] if command is None else [command]))
            followers.append(follower)
        yield followers


async def _write(client: Any, keys: list[str]) -> None:
    for start in range(0, len(keys), CHUNK):
        async with client.pipeline(transaction=False) as pipeline:
            for key in keys[start : start + CHUNK]:
                pipeline.set(key, "x" * 50)
            await pipeline.execute()


async def _settled(followers: list[Follower]) -> None:
    heard, now = -1, 0
    while heard != now:
        await asyncio.sleep(SETTLED)
        heard, now = now, sum(each.heard for each in followers)


async def _processor(client: Any) -> float:
    found = await client.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])
