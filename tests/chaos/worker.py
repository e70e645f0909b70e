"""A bot at work: `python -m tests.chaos.worker PLAN`, until its standard input ends or says "stop"."""

from __future__ import annotations

import asyncio
import random
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from polly_state import Ack, Address, Bounds, Deadlines, Mode, Origin, PollyState, Settings, StateError
from polly_state.events import Event, ModeChanged
from tests.chaos import controls
from tests.chaos.history import History

DRAIN_SECONDS = 25.0
TICK = 0.01
SHARED = 6
OWN = 4
LOG_ENTRIES = 10_000
CONNECTED = (Mode.CONNECTED, Mode.RECOVERING, Mode.EMBEDDED)


@dataclass(kw_only=True)
class Plan:
    """What a worker is to do."""

    url: str
    namespace: str
    history: str
    name: str
    seed: int = 0
    tasks: int = 12
    pause: float = 0.006
    """Seconds between two calls of one task, on average."""
    directory: str | None = None
    deadline: float = 0.25
    in_flight: int = 32_768
    journal_entries: int = 100_000
    file_bytes: int | None = None
    """The largest file that it may write: a full disk."""
    cancel: float = 0.0
    """The share of calls that are cancelled at a random moment."""
    without: str | None = None
    """The safeguard that is switched off."""
    waits: bool = True
    """Whether it ends only when Redis has all that it wrote."""

    def dump(self) -> str:
        return orjson.dumps(asdict(self)).decode()


class Worker:
    """Tasks that write to keys of their own and to shared ones, and read back what they wrote."""

    def __init__(self, plan: Plan, state: PollyState, history: History) -> None:
        self.stopped = False
        self.stall = 0.0
        self.latencies: list[float] = []
        self._plan = plan
        self._state = state
        self._history = history
        self._registers = state.map("registers", str)
        self._shared = state.map("shared", str)
        self._fields = state.fields("fields", str)
        self._switches = state.fields("switches", bool)
        self._counters = state.counters("counters")
        self._sets = state.sets("sets", str)
        self._log = state.log("log", str, limit=LOG_ENTRIES)
        self._queue = state.queue("queue", str)
        self._written = 0

    async def work(self, task: int) -> None:
        lots = random.Random(f"{self._plan.seed}/{self._plan.name}/{task}")
        jobs = [self.register, self.mark, self.patch, self.toggle, self.add, self.share, self.read, self.look]
        jobs += [self.member, self.append, self.put]
        while not self.stopped:
            call = lots.choice(jobs)(f"{self._plan.name}-{task}", lots)
            if lots.random() < self._plan.cancel:
                await self._cancelled(call, lots)
            else:
                await call
            await asyncio.sleep(lots.uniform(0, 2 * self._plan.pause))

    async def register(self, own: str, lots: random.Random) -> None:
        key, value = f"{own}-{lots.randrange(OWN)}", self._value()
        await self._note("register", key, value, self._registers.set(key, value))

    async def mark(self, own: str, _: random.Random) -> None:
        """Write to a key that nobody writes to again: what is lost of it stays lost."""
        value = self._value()
        await self._note("register", f"{own}-{value}", value, self._registers.set(f"{own}-{value}", value))

    async def share(self, _: str, lots: random.Random) -> None:
        key, value = str(lots.randrange(SHARED)), self._value()
        await self._note("shared", key, value, self._shared.set(key, value))

    async def patch(self, own: str, lots: random.Random) -> None:
        values = {f"f{number}": self._value() for number in lots.sample(range(OWN), 2)}
        await self._note("patch", own, values, self._fields.patch(own, values))

    async def toggle(self, own: str, lots: random.Random) -> None:
        name = f"f{lots.randrange(OWN)}"
        await self._note("toggle", own, name, self._switches.toggle(own, name))

    async def add(self, _: str, lots: random.Random) -> None:
        key = str(lots.randrange(SHARED))
        await self._note("add", key, 1, self._counters.add(key))

    async def member(self, own: str, lots: random.Random) -> None:
        member, there = f"m{lots.randrange(OWN)}", lots.random() < 0.6
        call = self._sets.add(own, member) if there else self._sets.remove(own, member)
        await self._note("member", own, {member: there}, call)

    async def append(self, own: str, _: random.Random) -> None:
        value = self._value()
        await self._note("append", own, value, self._log.append(own, value))

    async def put(self, _: str, lots: random.Random) -> None:
        key, value = str(lots.randrange(SHARED)), self._value()
        await self._note("put", key, value, self._queue.put(key, value))

    async def read(self, own: str, lots: random.Random) -> None:
        key = f"{own}-{lots.randrange(OWN)}"
        await self._note("read", key, None, self._registers.read(key))

    async def look(self, _: str, lots: random.Random) -> None:
        key = str(lots.randrange(SHARED))
        await self._note("look", key, None, self._shared.read(key))

    async def watch(self) -> None:
        """Measure for how long the event loop serves nobody."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK
            await asyncio.sleep(TICK)
            self.stall = max(self.stall, loop.time() - due)

    async def _note(self, kind: str, key: str, value: Any, call: Any) -> None:
        number = self._history.invoked(kind, key, value)
        degraded = self._state.mode not in CONNECTED
        try:
            result = await call
        except StateError as error:
            self._history.failed(number, type(error).__name__, error.maybe_applied)
            return
        except asyncio.CancelledError:
            self._history.failed(number, "cancelled", True)
            raise
        label = result.name if isinstance(result, Ack) else None
        if kind in ("read", "look"):
            label, result = result.origin.value, result.value if result.origin is not Origin.DEFAULT else None
        self._history.told(number, None if isinstance(result, Ack) else result, label, degraded)

    async def _cancelled(self, call: Any, lots: random.Random) -> None:
        task = asyncio.create_task(call)
        await asyncio.sleep(lots.uniform(0, 0.002))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def _value(self) -> str:
        self._written += 1
        return f"{self._plan.name}.{self._written}"


async def main(plan: Plan) -> None:
    if plan.without is not None:
        controls.switch_off(plan.without)
    if plan.file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (plan.file_bytes, plan.file_bytes))
    history = History(Path(plan.history))

    def observe(event: Event) -> None:
        if isinstance(event, ModeChanged):
            history.mode(event.mode.value)

    settings = Settings(
        address=Address.parse(plan.url),
        namespace=plan.namespace,
        directory=None if plan.directory is None else Path(plan.directory),
        repair=plan.without != "ring",
        deadlines=Deadlines(operation=plan.deadline),
        bounds=Bounds(in_flight_commands=plan.in_flight, journal_entries=plan.journal_entries),
    )
    baseline = asyncio.all_tasks()
    async with PollyState(settings, observers=(observe,)) as state:
        worker = Worker(plan, state, history)
        history.mode(state.mode.value)
        watch = asyncio.create_task(worker.watch())
        tasks = [asyncio.create_task(worker.work(number)) for number in range(plan.tasks)]
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        worker.stopped = True
        await asyncio.gather(*tasks)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while plan.waits and (state.health().pending or state.mode not in CONNECTED):
            if loop.time() > began + DRAIN_SECONDS:
                break
            await asyncio.sleep(TICK)
        drained = loop.time() - began
        watch.cancel()
        found = state.statistics()
    await asyncio.sleep(0)
    history.ended(
        pending=found.pending,
        drained_ms=round(drained * 1000),
        loop_stall_max_ms=round(worker.stall * 1000, 1),
        leaked_tasks=len(asyncio.all_tasks() - baseline),
        superseded=found.replay.superseded if found.replay else 0,
        replayed=found.replay.replayed if found.replay else 0,
        dead=found.replay.dead if found.replay else 0,
        resent=found.repair.resent if found.repair else 0,
        possible_loss=found.repair.possible_loss if found.repair else 0,
        connections=found.connection.connections if found.connection else 0,
    )


if __name__ == "__main__":
    asyncio.run(main(Plan(**orjson.loads(sys.argv[1]))))
