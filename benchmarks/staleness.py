"""How old a value from the near cache can be: two writers at 1 000 keys a second each, four readers.

connected  Writers and readers reach the server undisturbed.
flushed    The same, and the database is flushed ten times a second.
cut        The readers' connections are reset again and again.
frozen     Nothing comes through to the readers any more, and their deadline is so long that only the bound on
           silence ends what they hand out.

The age of a hit is the time from when its value was gone for certain, to the moment the reader asked: from the
acknowledgement of the next newer version of its key, or of a flush. Writers are processes of their own, and note
when they were acknowledged; each reader is a state of its own, the four of them share an event loop. `max_us` is
the oldest hit, `stale` how many hits had an age at all. The ratios are promises: "connected/promise" is the
promised age through the oldest one, so that 1 or more holds it.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import chain
from math import inf
from multiprocessing import get_context
from random import Random
from time import monotonic
from typing import NamedTuple

from benchmarks.run import Plan, Report, new_server, quantile
from polly_state import Address, Deadlines, PollyState, Settings
from polly_state.commands import Get
from polly_state.errors import StateError
from polly_state.near import MISSING
from polly_state.near.tracking import SILENCE
from polly_state.store import Origin
from polly_state.testing import FaultProxy

__all__ = ["PLAN", "PROMISED", "Hit", "Outcome", "Reader", "Write", "ages", "observed", "run"]

PLAN = Plan(rounds=1, seconds=5.0)
KEYS = tuple(f"stale:cache:{{{number}}}" for number in range(500))
WRITERS, READERS = 2, 4
RATE, TICK = 1000, 0.01
PROMISED = {"connected": 0.05, "flushed": 0.05, "cut": SILENCE + 0.05, "frozen": SILENCE + 0.05}
FLUSH_PAUSE, CUT_PAUSE = 0.1, 0.3


class Write(NamedTuple):
    """A version of a key, and when it was acknowledged."""

    key: str
    version: int
    at: float


class Hit(NamedTuple):
    """What the near cache handed out, and when it was asked."""

    key: str
    version: int
    at: float


class Flush(NamedTuple):
    """When a flush was sent, and when it was acknowledged."""

    sent_at: float
    at: float


@dataclass(slots=True)
class Outcome:
    """All that happened in one phase."""

    writes: list[Write] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    flushes: list[Flush] = field(default_factory=list)
    misses: int = 0


def ages(outcome: Outcome) -> list[float]:
    """The age of every hit in seconds; 0 for one that was right."""
    versions: dict[str, list[int]] = defaultdict(list)
    times: dict[str, list[float]] = defaultdict(list)
    for write in outcome.writes:
        versions[write.key].append(write.version)
        times[write.key].append(write.at)
    sent = [flush.sent_at for flush in outcome.flushes]
    found = []
    for hit in outcome.hits:
        newer = bisect_right(versions[hit.key], hit.version)
        gone_at = times[hit.key][newer] if newer < len(times[hit.key]) else inf
        if newer and versions[hit.key][newer - 1] == hit.version:
            flushed = bisect_left(sent, times[hit.key][newer - 1])
            gone_at = min(gone_at, outcome.flushes[flushed].at if flushed < len(sent) else inf)
        found.append(max(0.0, hit.at - gone_at))
    return found


class Reader:
    """Reads versions by way of the near cache of a state, as a cache does."""

    def __init__(self, state: PollyState, outcome: Outcome) -> None:
        stack = state._started()
        assert stack.near is not None
        self.near = stack.near
        self._execute = state._store.execute
        self._outcome = outcome

    def hit(self, key: str) -> bool:
        """Whether the near cache has it; if so, that is noted."""
        asked_at = monotonic()
        version = self.near.get(key)
        if version is MISSING:
            self._outcome.misses += 1
            return False
        assert isinstance(version, int)
        self._outcome.hits.append(Hit(key, version, asked_at))
        return True

    async def read(self, key: str) -> None:
        """Ask the near cache, and Redis if it does not know."""
        if self.hit(key):
            return
        ticket = self.near.begin(key)
        try:
            answer = await self._execute(Get(key))
        except StateError:
            return
        if answer.value is not None and answer.origin is Origin.REDIS:
            self.near.fill(key, ticket, int(answer.value), len(answer.value), None)

    async def read_on(self, seed: int) -> None:
        """Read keys at random until cancelled."""
        random = Random(seed)
        while True:
            for key in random.choices(KEYS, k=20):
                await self.read(key)
            await asyncio.sleep(0.001)


async def run(plan: Plan) -> Report:
    report = Report("staleness")
    async with new_server() as server:
        for phase in PROMISED:
            _note(report, phase, await observed(phase, server.url, plan.seconds))
    return report


async def observed(phase: str, url: str, seconds: float) -> Outcome:
    """Let writers write and readers read for so many seconds, or until the bound on silence is well over."""
    outcome = Outcome()
    frozen = phase == "frozen"
    seconds = max(seconds, 2 * SILENCE) if frozen else seconds
    async with FaultProxy(url) as proxy, _readers(proxy.url, outcome, 60.0 if frozen else 0.25) as readers:
        with ProcessPoolExecutor(WRITERS, get_context("spawn")) as pool:
            loop = asyncio.get_running_loop()
            writers = [loop.run_in_executor(pool, write, url, number, seconds) for number in range(WRITERS)]
            tasks = [asyncio.create_task(reader.read_on(seed)) for seed, reader in enumerate(readers)]
            tasks.append(asyncio.create_task(_disturb(phase, url, proxy, outcome, readers)))
            done = await asyncio.gather(*writers)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended
        proxy.heal()
    outcome.writes = list(chain.from_iterable(done))
    return outcome


def write(url: str, number: int, seconds: float) -> list[Write]:
    """Write RATE keys a second, in a process of its own; each writer has keys that nobody else writes."""
    from redis import Redis

    own, random = KEYS[number::WRITERS], Random(number)
    written: list[Write] = []
    with Redis.from_url(url) as client:
        client.ping()
        due = monotonic()
        for version in range(1, int(seconds / TICK) + 1):
            for key in random.sample(own, int(RATE * TICK)):
                client.set(key, version)
                written.append(Write(key, version, monotonic()))
            due += TICK
            time.sleep(max(0.0, due - monotonic()))
    return written


@asynccontextmanager
async def _readers(url: str, outcome: Outcome, deadline: float) -> AsyncIterator[list[Reader]]:
    settings = Settings(
        address=Address.parse(url), namespace="stale", deadlines=Deadlines(operation=deadline, close=0.1)
    )
    async with AsyncExitStack() as stack:
        states = [await stack.enter_async_context(PollyState(settings, observers=())) for _ in range(READERS)]
        yield [Reader(state, outcome) for state in states]


async def _disturb(phase: str, url: str, proxy: FaultProxy, outcome: Outcome, readers: Iterable[Reader]) -> None:
    if phase == "frozen":
        await asyncio.sleep(1.0)
        proxy.hold()
    while phase == "frozen":
        # Who asked Redis waits for good; what is held is asked for by somebody else.
        for reader in readers:
            for key in KEYS:
                reader.hit(key)
        await asyncio.sleep(0.01)
    if phase == "flushed":
        await _flush_on(url, outcome)
    while True:
        await asyncio.sleep(CUT_PAUSE)
        if phase == "cut":
            proxy.reset()


async def _flush_on(url: str, outcome: Outcome) -> None:
    from redis.asyncio import Redis

    async with Redis.from_url(url) as client:
        while True:
            await asyncio.sleep(FLUSH_PAUSE)
            sent_at = monotonic()
            await client.flushdb()
            outcome.flushes.append(Flush(sent_at, monotonic()))


def _note(report: Report, phase: str, outcome: Outcome) -> None:
    found = ages(outcome)
    oldest = max(found)
    report.rows.append(
        {
            "contestant": "ours",
            "op": phase,
            "tasks": READERS,
            "hits": len(found),
            "misses": outcome.misses,
            "writes": len(outcome.writes),
            "stale": sum(age > 0 for age in found),
            "p99_us": round(quantile(found, 99) * 1e6, 2),
            "max_us": round(oldest * 1e6, 2),
        }
    )
    report.ratios[f"{phase}/promise"] = round(PROMISED[phase] / max(oldest, 1e-6), 2)
