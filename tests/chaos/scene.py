"""The scene of a scenario: a server, a proxy before it, workers, and a record of the faults."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import orjson
import redis
from anyio import to_thread

from polly_state.testing import FaultProxy, Server
from tests.chaos.checker import Contents
from tests.chaos.history import Past, read
from tests.chaos.worker import Plan
from tests.clusters import Clustered

NAMESPACE = "chaos"
AWAY = ("degraded", "read_only", "misconfigured")
STOP_SECONDS = 45.0
READY_SECONDS = 20.0
STAMP = 24


class Worker:
    """A worker's process, seen from outside."""

    def __init__(self, plan: Plan, process: asyncio.subprocess.Process) -> None:
        self.plan = plan
        self._process = process

    @classmethod
    async def hire(cls, plan: Plan) -> Self:
        """Start it, and wait until it is at work."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.chaos.worker",
            plan.dump(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        worker = cls(plan, process)
        try:
            async with asyncio.timeout(READY_SECONDS):
                await process.stdout.readline()
        except TimeoutError:
            await worker.kill()
        return worker

    def tell_to_stop(self) -> None:
        """Let it make no more calls, and end when Redis has all that it wrote."""
        assert self._process.stdin is not None
        if self._process.returncode is None:
            self._process.stdin.close()

    async def stop(self) -> None:
        """Let it finish, or kill it if it does not."""
        self.tell_to_stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        await self.kill()

    async def kill(self) -> None:
        """End it without a goodbye (SIGKILL)."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def past(self) -> Past:
        """What it has noted."""
        return read(Path(self.plan.history))


class Scene:
    """Everything that a scenario plays with; `async with` ends all of it."""

    def __init__(self, binary: Path, seed: int, *, pace: float, without: str | None, **server: Any) -> None:
        self.lots = random.Random(seed)
        self.binary = binary
        self.without = without
        self.server = Server(binary, **server)
        self.proxy = FaultProxy(self.server.url)
        self.judged: Server | Clustered = self.server
        """The server, or the Cluster, that counts in the end."""
        self.workers: list[Worker] = []
        self.faults = 0
        self.figures: dict[str, Any] = {}
        """What the scenario has measured itself."""
        self.reasons: list[str] = []
        """Why it is not ok."""
        self._seed = seed
        self.pace = pace
        self._outages: list[tuple[float, float]] = []
        self._stack = contextlib.AsyncExitStack()
        self.folder = Path()

    async def __aenter__(self) -> Self:
        folder = tempfile.TemporaryDirectory(prefix="polly-chaos-", ignore_cleanup_errors=True)
        self.folder = Path(self._stack.enter_context(folder))
        await self._stack.enter_async_context(self.server)
        await self._stack.enter_async_context(self.proxy)
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self.workers:
            await worker.kill()
        await self._stack.aclose()

    async def enter(self, context: Any) -> Any:
        """Enter an async context that ends with the scene: one more server or proxy."""
        return await self._stack.enter_async_context(context)

    async def hire(self, count: int = 1, **plan: Any) -> list[Worker]:
        """Let so many workers begin, through the proxy if the *plan* does not say otherwise."""
        plans = [self._plan(len(self.workers) + number, plan) for number in range(count)]
        hired = await asyncio.gather(*map(Worker.hire, plans))
        self.workers += hired
        return hired

    async def pause(self, seconds: float) -> None:
        """Let them work for about so long."""
        await asyncio.sleep(seconds * self.pace)

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """A time in which Redis is away for the workers: opening and closing are measured by it."""
        began = time.monotonic()
        self.faults += 1
        yield
        self._outages.append((began, time.monotonic()))

    def check(self, condition: object, why: str) -> None:
        """The scenario is not ok unless *condition* holds."""
        if not condition:
            self.reasons.append(why)

    async def do(self, work: Callable[[], Any]) -> Any:
        """What blocks, in a thread."""
        return await to_thread.run_sync(work)

    async def command(self, *words: Any, server: Server | None = None, **options: Any) -> Any:
        """What the server, not the proxy, answers; an error is raised."""

        def ask() -> Any:
            with redis.Redis.from_url((server or self.server).url, socket_timeout=5.0) as client:
                return client.execute_command(*words, **options)

        return await self.do(ask)

    async def end(self) -> list[Past]:
        """Heal everything, let the workers finish, and read what they noted."""
        self.proxy.heal()
        await asyncio.gather(*(worker.stop() for worker in self.workers))
        return await self.do(lambda: [worker.past() for worker in self.workers])

    async def contents(self) -> Contents:
        """What Redis holds, read by a client that knows nothing of this package."""
        return await self.do(lambda: _contents(self.judged.url))

    def timings(self, pasts: list[Past]) -> dict[str, float | None]:
        """Milliseconds from a fault until a worker stops to ask Redis, and from its end until it asks again."""
        opened, closed = [], []
        for began, ended in self._outages:
            for past in pasts:
                away = [at for at, mode in past.modes if mode in AWAY and began <= at < ended]
                if away:
                    opened.append(away[0] - began)
                    back = [at for at, mode in past.modes if mode not in AWAY and at >= ended]
                    closed += [at - ended for at in back[:1]]
        return {
            "time_to_open_ms": _milliseconds(opened),
            "time_to_close_ms": _milliseconds(closed),
            "opened": len(opened),
            "recovering_ms": _milliseconds(_spans(pasts, "recovering")),
        }

    def _plan(self, number: int, parts: dict[str, Any]) -> Plan:
        name = f"w{number}"
        defaults = {
            "url": self.proxy.url,
            "namespace": NAMESPACE,
            "history": str(self.folder / f"{name}.history"),
            "name": name,
            "seed": self._seed,
            "without": self.without,
        }
        return Plan(**(defaults | parts))


def _contents(url: str) -> Contents:
    found: dict[str, dict[str, Any]] = {}
    # A Cluster is found by any of its servers, such as the last one.
    kind = redis.RedisCluster if "+cluster" in url else redis.Redis
    with kind.from_url(f"redis://{re.split('//|,', url)[-1]}", decode_responses=True) as client:
        for key in client.scan_iter(f"{NAMESPACE}:*", count=1000):
            family, _, name = key.removeprefix(f"{NAMESPACE}:").partition(":")
            if family.startswith("~"):
                continue
            found.setdefault(family, {})[name.strip("{}")] = _content(client, key)
    return found


def _content(client: Any, key: str) -> Any:
    kind = client.type(key)
    if kind == "hash":
        return {name: orjson.loads(text) for name, text in client.hgetall(key).items()}
    if kind == "set":
        return dict.fromkeys(client.smembers(key), True)
    if kind == "zset":
        return [orjson.loads(member[STAMP:]) for member in client.zrange(key, 0, -1)]
    if kind == "stream":
        return [orjson.loads(message["content"]) for _, message in client.xrange(key)]
    return orjson.loads(client.get(key) or b"null")


def _spans(pasts: list[Past], wanted: str) -> list[float]:
    """How long each stay in a mode was, in seconds."""
    changes = [pairwise(past.modes) for past in pasts]
    return [until - since for each in changes for (since, mode), (until, _) in each if mode == wanted]


def _milliseconds(seconds: list[float]) -> float | None:
    return round(statistics.median(seconds) * 1000, 1) if seconds else None
