"""Messages from one process to another: how many in a second, how soon, and what it costs to wait for them.

ours        `state.inboxes`: sent, listened to 16 at a time, each acknowledged
redis_py    bare streams: XADD, XREADGROUP COUNT 16 BLOCK, and XACK with XDEL for each; JSON around it

Both have a client that sends and another that reads, on one event loop. "through" counts messages from the first that
is sent to the last that is acknowledged, with 1 and 50 tasks that send, and 8 that read. "delivery" is from before it
is sent until it is in its reader's hands, one message at a time: the promise is a p99 below 5 ms. "idle" is what the
server is asked in a second while 100 inboxes are listened to and nothing comes, beyond the "upkeep" of any state (the
watch on the server) and the "sign of life" (PING) of the connection that all of them share: the promise is 0. Two lists
that are polled every half a second, as a bot used to do, make 4 for each bot.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter, process_time
from typing import Any, NamedTuple

import orjson

from benchmarks.contestants import OURS, POOL
from benchmarks.run import Plan, Report, Window, new_server, paired, row, row_of_times, turns
from polly_state import PollyState, Settings

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=5, seconds=0.5)
TASKS = (1, 50)
READERS = 8
TAKEN = 16
DELIVERIES = 400
PACE = 0.003
PROMISED = 5e-3
UPKEEP = ("set", "get", "info")
INBOXES = 100
INBOX = "bot"
MESSAGE = {"type": "admin_message", "message": "restart, please", "sender_id": "123456"}

Handle = Callable[[Any], None]


class Post(NamedTuple):
    """How a message is sent, and how one task reads for ever, telling of each message before it is acknowledged."""

    send: Callable[[Any], Awaitable[Any]]
    read: Callable[[Handle], Awaitable[Any]]


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Post]:
    settings = Settings.from_url(url, namespace="ours")
    async with PollyState(settings) as sender, PollyState(settings) as reader:

        async def read(handle: Handle) -> None:
            async for letter in reader.inboxes.listen(INBOX, count=TAKEN):
                handle(letter.value.content)
                await letter.ack()

        yield Post(lambda content: sender.inboxes.send(INBOX, content), read)


@asynccontextmanager
async def redis_py(url: str) -> AsyncIterator[Post]:
    from redis.asyncio import BlockingConnectionPool, Redis

    pools = [BlockingConnectionPool.from_url(url, max_connections=POOL, socket_timeout=None) for _ in range(2)]
    async with Redis.from_pool(pools[0]) as sender, Redis.from_pool(pools[1]) as reader:
        stream = f"redis_py:{secrets.token_hex(4)}"
        await sender.xgroup_create(stream, "group", mkstream=True)

        async def read(handle: Handle) -> None:
            while True:
                found = await reader.xreadgroup("group", "reader", {stream: ">"}, TAKEN, 1000)
                for entry, fields in found[0][1] if found else ():
                    handle(orjson.loads(fields[b"content"]))
                    async with reader.pipeline(transaction=False) as both:
                        await both.xack(stream, "group", entry).xdel(stream, entry).execute()

        yield Post(lambda content: sender.xadd(stream, {"content": orjson.dumps(content)}), read)


CONTESTANTS = {OURS: ours, "redis_py": redis_py}


async def run(plan: Plan) -> Report:
    report = Report("inbox")
    async with new_server() as server:
        for tasks in TASKS:
            windows: dict[str, list[Window]] = {name: [] for name in CONTESTANTS}
            for name in turns(CONTESTANTS, plan.rounds):
                windows[name].append(await _through(CONTESTANTS[name], server.url, tasks, plan.seconds))
            report.rows += [row(name, "through", tasks, theirs) for name, theirs in windows.items()]
            rates = {name: [window.rate for window in theirs] for name, theirs in windows.items()}
            report.ratios[f"through/redis_py@{tasks}"] = paired(rates[OURS], rates["redis_py"])
        for name, contestant in CONTESTANTS.items():
            line = row_of_times(name, "delivery", 1, await _deliveries(contestant, server.url))
            report.rows.append(line)
            if name == OURS:
                report.ratios["delivery_p99/promise"] = round(PROMISED * 1e6 / line["p99_us"], 2)
        for op, commands in (await _idle(server.url, 4 * plan.seconds)).items():
            report.rows.append({"contestant": OURS, "op": op, "tasks": INBOXES, "commands_s": commands})
    return report


@asynccontextmanager
async def _reading(post: Post, tasks: int, handle: Handle) -> AsyncIterator[None]:
    # A reader that fails ends all of it.
    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(post.read(handle)) for _ in range(tasks)]
        yield
        for reader in readers:
            reader.cancel()


async def _through(contestant: Any, url: str, tasks: int, seconds: float) -> Window:
    """Send for so long, and wait until all of it has been read."""
    sent = read = 0
    all_read = asyncio.Event()
    samples: list[float] = []

    def handle(content: Any) -> None:
        nonlocal read
        assert content == MESSAGE
        read += 1
        if read == sent:
            all_read.set()

    async def work() -> None:
        nonlocal sent
        while (began := perf_counter()) < end:
            await post.send(MESSAGE)
            samples.append(perf_counter() - began)
            sent += 1

    async with contestant(url) as post, _reading(post, READERS, handle):
        await asyncio.sleep(0.05)
        cpu, start = process_time(), perf_counter()
        end = start + seconds
        await asyncio.gather(*(work() for _ in range(tasks)))
        while read < sent:
            all_read.clear()
            await all_read.wait()
        took = perf_counter() - start
        await asyncio.sleep(0.05)
    assert read == sent
    return Window(sent, took, process_time() - cpu, samples)


async def _deliveries(contestant: Any, url: str) -> list[float]:
    times: list[float] = []
    arrived = asyncio.Event()

    def handle(began: float) -> None:
        times.append(perf_counter() - began)
        arrived.set()

    async with contestant(url) as post, _reading(post, 1, handle):
        await asyncio.sleep(0.05)
        for _ in range(DELIVERIES):
            arrived.clear()
            await post.send(perf_counter())
            await arrived.wait()
            await asyncio.sleep(PACE)
    return times


async def _idle(url: str, seconds: float) -> dict[str, float]:
    """Commands in a second while inboxes are listened to and nothing comes, by what they are for."""
    async with PollyState(Settings.from_url(url, namespace="idle")) as state:

        async def listen(number: int) -> None:
            async for letter in state.inboxes.listen(f"{INBOX}-{number}"):
                await letter.ack()

        readers = [asyncio.create_task(listen(number)) for number in range(INBOXES)]
        await asyncio.sleep(0.5)
        asked = await _asked(url, seconds)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    upkeep, life = sum(asked.pop(name, 0) for name in UPKEEP), asked.pop("ping", 0)
    counts = {"upkeep": upkeep, "sign of life": life, "idle": sum(asked.values())}
    return {op: round(count / seconds, 2) for op, count in counts.items()}


async def _asked(url: str, seconds: float) -> dict[str, int]:
    """How often each command was called in so many seconds."""
    from redis.asyncio import Redis

    async with Redis.from_url(url) as client:
        before = await client.info("commandstats")
        await asyncio.sleep(seconds)
        after = await client.info("commandstats")
    names = {name: stats["calls"] - before.get(name, {"calls": 0})["calls"] for name, stats in after.items()}
    return {name.removeprefix("cmdstat_"): count for name, count in names.items() if count}
