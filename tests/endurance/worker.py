"""A process that may be stopped and killed at any time: `python -m tests.endurance.worker PLAN`.

It says "ready" when it is at work, and ends when its work is done or its standard input ends.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import orjson
from redis.asyncio import Redis

from polly_state import Ack, Address, Deadlines, LeaseLost, LockTaken, PollyState, Settings, StoreUnavailable
from tests.endurance.notes import Notes

INBOX = "bot"
NAMES = ("a", "b", "c", "d")
PATIENCE = 5.0
TAKEN = 16
ENDED = "ended"
REGISTER = """
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[1]) or '0') then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
if ARGV[3] == 'end' then redis.call('INCR', KEYS[3]) end
return redis.call('RPUSH', KEYS[2], ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. ARGV[3])
"""
"""What a fenced resource does: refuse who comes with a lower fence than it has seen."""


@dataclass(kw_only=True)
class Plan:
    """What a process is to do."""

    job: str
    url: str
    namespace: str
    notes: str
    seed: int
    tasks: int = 1
    first: int = 0
    """The number of the first message to send."""
    messages: int = 0
    """How many are to be acknowledged to their sender."""
    visibility: float = 1.0
    pause: float = 1.0
    """Seconds between two tasks that are cancelled, on average."""
    register: str = ""
    """Where the fenced resource is."""
    lifetime: float = 0.4
    """Of a lock, in seconds."""

    def dump(self) -> str:
        return orjson.dumps(asdict(self)).decode()


async def produce(state: PollyState, plan: Plan, notes: Notes) -> None:
    """Send messages until so many are acknowledged; whoever is cancelled does not know, and sends another."""
    numbers, sent = count(plan.first), 0

    async def send() -> None:
        nonlocal sent
        while sent < plan.messages:
            number = next(numbers)
            notes.add("begun", number)
            if await state.inboxes.send(INBOX, number) >= Ack.REMOTE:
                sent += 1
                notes.add("sent", number)

    await disturbed(send, plan)


async def consume(state: PollyState, plan: Plan, notes: Notes) -> None:
    """Handle messages for ever."""

    async def handle() -> None:
        async for letter in state.inboxes.listen(INBOX, count=TAKEN, visibility=plan.visibility):
            notes.add("handled", letter.value.content, letter.deliveries)
            await asyncio.sleep(0)
            await letter.ack()
            notes.add("done", letter.value.content)

    await disturbed(handle, plan)


async def disturbed(work: Callable[[], Awaitable[None]], plan: Plan) -> None:
    """Let tasks work until each has come to its end; now and then one is cancelled, and another takes its place."""
    lots = random.Random(plan.seed)
    tasks = {asyncio.ensure_future(work()) for _ in range(plan.tasks)}
    try:
        while tasks:
            await asyncio.wait(tasks, timeout=lots.uniform(0, 2 * plan.pause), return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in tasks if task.done()]:
                tasks.remove(task)
                task.result()
            if tasks:
                task = lots.choice(sorted(tasks, key=id))
                task.cancel()
                await asyncio.wait({task})
                tasks.discard(task)
                tasks.add(asyncio.ensure_future(work()))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def lock(state: PollyState, plan: Plan, notes: Notes) -> None:
    """Write to a fenced resource under a lock, for ever: each time a beginning and an end."""
    locks, lots, me = state.locks("work", ttl=plan.lifetime), random.Random(plan.seed), plan.seed
    # With a timeout it loses cancellations now and then: `asyncio.wait_for` did before Python 3.12.
    async with Redis.from_url(plan.register, socket_timeout=None) as client:
        register = client.register_script(REGISTER)

        async def write(name: str, fence: int, what: str) -> bool:
            return bool(await register([f"seen:{name}", f"written:{name}", ENDED], [fence, me, what]))

        while True:
            name, began = lots.choice(NAMES), time.monotonic()
            outcome = "refused"
            try:
                async with locks.hold(name, timeout=PATIENCE) as lease:
                    notes.add("held", name, began, time.monotonic(), lease.fence)
                    if await write(name, lease.fence, "begin"):
                        # Some hold it for long, so that they are stopped, and flushed away, in the middle.
                        await asyncio.sleep(0.05 if lots.random() < 0.05 else 0)
                        outcome = "done" if await write(name, lease.fence, "end") else "refused"
            except (LeaseLost, LockTaken, StoreUnavailable) as error:
                outcome = type(error).__name__
                await asyncio.sleep(0.005)
            notes.add("outcome", outcome)


JOBS = {"produce": produce, "consume": consume, "lock": lock}


async def main(plan: Plan) -> None:
    # Where the network is whole, to be late on a busy machine is no outage.
    deadlines = Deadlines() if plan.job == "lock" else Deadlines(operation=PATIENCE, connect=PATIENCE)
    settings = Settings(address=Address.parse(plan.url), namespace=plan.namespace, deadlines=deadlines, processes=1)
    with Notes(Path(plan.notes)) as notes:
        async with PollyState(settings, observers=()) as state:
            work = asyncio.create_task(JOBS[plan.job](state, plan, notes))
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            told = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
            await asyncio.wait({work, told}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                # The thread reads on until the standard input ends, which whoever started this closes now.
                sys.stdout.write("done\n")
                sys.stdout.flush()
            work.cancel()
            await asyncio.wait({work, told})


if __name__ == "__main__":
    asyncio.run(main(Plan(**orjson.loads(sys.argv[1]))))
