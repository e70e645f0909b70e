"""How old a value from a cache can be: two writers at 1 000 keys a second each, four readers, all by its handles.

connected  Writers and readers reach the server undisturbed.
flushed    The same, and the database is flushed ten times a second.
cut        The readers' connections are reset again and again.
frozen     Nothing comes through to the readers any more, and their deadline is so long that only the bound on
           silence ends what they hand out.

Writers `set`, readers `read`; what comes from near counts, and what comes from Redis. The age of a hit is the time
from when its value was gone for certain, to the moment the reader asked: from the acknowledgement of the next newer
version of its id, or of a flush. Writers are processes of their own, and note when they were acknowledged; each
reader is a state of its own, the four of them share an event loop. `near` is how many hits asked nobody, `max_us` the
oldest hit, `stale` how many hits had an age at all. The ratios are promises: "connected/promise" is the promised age
through the oldest one, so that 1 or more holds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from multiprocessing import get_context
from random import Random
from time import monotonic

from benchmarks.ages import Flush, Hit, Outcome, Write, ages
from benchmarks.run import Plan, Report, new_server, quantile
from polly_state import Address, Deadlines, PollyState, Settings
from polly_state.errors import StateError
from polly_state.near.tracking import SILENCE
from polly_state.store import Ack, Origin
from polly_state.testing import FaultProxy

__all__ = ["PLAN", "PROMISED", "Reader", "observed", "run"]

PLAN = Plan(rounds=1, seconds=5.0)
IDS = tuple(f"id{number}" for number in range(500))
NAMESPACE, FAMILY, TTL = "stale", "versions", 600
WRITERS, READERS = 2, 4
RATE, TICK = 1000, 0.01
PROMISED = {"connected": 0.05, "flushed": 0.05, "cut": SILENCE + 0.05, "frozen": SILENCE + 0.05}
FLUSH_PAUSE, CUT_PAUSE = 0.1, 0.3
FEW, MANY = 5, 2000


class Reader:
    """Reads versions by the handle of a cache."""

    def __init__(self, state: PollyState, outcome: Outcome) -> None:
        self._cache = state.cache.family(FAMILY, int, ttl=TTL)
        self._outcome = outcome

    async def read(self, key: str) -> None:
        """Read one, and note what comes from near or from Redis."""
        asked_at = monotonic()
        try:
            found = await self._cache.read(key)
        except StateError:
            return
        if found.value is None:
            self._outcome.misses += 1
        elif found.origin in (Origin.NEAR, Origin.REDIS):
            self._outcome.near += found.origin is Origin.NEAR
            self._outcome.hits.append(Hit(key, found.value, asked_at))

    def hit(self, key: str) -> bool:
        """Read one if that asks nobody; whether it did not."""
        reading, near = self.read(key), self._outcome.near
        try:
            waits_for = reading.send(None)
        except StopIteration:
            return self._outcome.near > near
        waits_for.cancel()
        reading.close()
        return False

    async def read_on(self, seed: int) -> None:
        """Read keys at random until cancelled."""
        random = Random(seed)
        while True:
            for key in random.choices(IDS, k=20):
                await self.read(key)
            await asyncio.sleep(0.001)


async def run(plan: Plan) -> Report:
    report = Report("staleness")
    for phase in PROMISED:
        # Each begins with nothing: versions start again.
        async with new_server() as server:
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
    return asyncio.run(_write(url, number, seconds))


async def _write(url: str, number: int, seconds: float) -> list[Write]:
    own, random = IDS[number::WRITERS], Random(number)
    written: list[Write] = []
    async with PollyState(_settings(url, 5.0), observers=()) as state:
        cache = state.cache.family(FAMILY, int, ttl=TTL)

        async def put(key: str, version: int) -> None:
            if await cache.set(key, version) >= Ack.REMOTE:
                written.append(Write(key, version, monotonic()))

        due = monotonic()
        for version in range(1, int(seconds / TICK) + 1):
            await asyncio.gather(*(put(key, version) for key in random.sample(own, int(RATE * TICK))))
            due += TICK
            await asyncio.sleep(max(0.0, due - monotonic()))
    return written


def _settings(url: str, deadline: float) -> Settings:
    deadlines = Deadlines(operation=deadline, close=0.1)
    return Settings(address=Address.parse(url), namespace=NAMESPACE, deadlines=deadlines)


@asynccontextmanager
async def _readers(url: str, outcome: Outcome, deadline: float) -> AsyncIterator[list[Reader]]:
    settings = _settings(url, deadline)
    async with AsyncExitStack() as stack:
        states = [await stack.enter_async_context(PollyState(settings, observers=())) for _ in range(READERS)]
        yield [Reader(state, outcome) for state in states]


async def _disturb(phase: str, url: str, proxy: FaultProxy, outcome: Outcome, readers: Iterable[Reader]) -> None:
    if phase == "frozen":
        while outcome.near < MANY:  # noqa: ASYNC110 - whoever counts has no event
            await asyncio.sleep(0.01)
        proxy.hold()
    while phase == "frozen":
        # Who asked Redis waits for good; what is held is asked for by somebody else, and little of what is not.
        for reader in readers:
            missed = 0
            for key in IDS:
                missed += not reader.hit(key)
                if missed > FEW:
                    break
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
            "near": outcome.near,
            "misses": outcome.misses,
            "writes": len(outcome.writes),
            "stale": sum(age > 0 for age in found),
            "p99_us": round(quantile(found, 99) * 1e6, 2),
            "max_us": round(oldest * 1e6, 2),
        }
    )
    report.ratios[f"{phase}/promise"] = round(PROMISED[phase] / max(oldest, 1e-6), 2)
