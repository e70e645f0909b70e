"""C2, C3, C9 to C11, C13, C15: the server dies, refuses, forgets, is suddenly two, or has another time."""

from __future__ import annotations

import asyncio
import contextlib

import redis

from polly_state.testing import FaultProxy, Server
from tests.chaos.clock import TurnedClock
from tests.chaos.play import scenario
from tests.chaos.scene import Scene

ALWAYS = {"appendonly": True, "arguments": ("--appendfsync", "always")}

AGAIN = 12.0
"""Seconds in which every worker tries a refused password once more."""
UNPROTECTED = {"arguments": ("--enable-protected-configs", "yes")}


async def killed_thrice(scene: Scene) -> None:
    await scene.hire(3)
    for _ in range(3):
        await scene.pause(1.5)
        async with scene.outage():
            await scene.do(scene.server.kill)
            await scene.pause(1.0)
            await scene.do(scene.server.start)
    await scene.pause(2.0)


@scenario("C2", "the server is killed three times, and keeps its append-only file", server=ALWAYS)
async def killed_with_file(scene: Scene) -> None:
    await killed_thrice(scene)


@scenario("C3", "the server is killed three times, and keeps nothing", control="ring", short=True, linear=False)
async def killed_without_file(scene: Scene) -> None:
    await killed_thrice(scene)


@scenario("C9", "the server takes no writes, for every reason there is, or is busy", server=UNPROTECTED)
async def refusals(scene: Scene) -> None:
    await scene.hire(3)
    for begin, end in (
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    ):
        await scene.pause(1.0)
        async with scene.outage():
            await scene.command(*begin)
            await scene.pause(1.5)
            await scene.command(*end)
    await failing_snapshot(scene)
    await busy(scene)
    await scene.pause(2.0)


async def failing_snapshot(scene: Scene) -> None:
    """MISCONF: a snapshot failed, and writes are refused until one succeeds."""
    folder = scene.folder / "gone"
    folder.mkdir()
    before = (await scene.command("CONFIG", "GET", "dir"))[b"dir"]
    await scene.command("CONFIG", "SET", "dir", str(folder))
    await scene.command("CONFIG", "SET", "save", "3600 1000000000")
    folder.rmdir()
    async with scene.outage():
        with contextlib.suppress(redis.ResponseError):
            await scene.command("BGSAVE")
        await scene.pause(1.5)
        await scene.command("CONFIG", "SET", "dir", before)
        await scene.command("CONFIG", "SET", "save", "")


async def busy(scene: Scene) -> None:
    """BUSY: somebody's script does not end, and nothing else is done meanwhile."""
    await scene.command("CONFIG", "SET", "busy-reply-threshold", "50")
    async with scene.outage():
        endless = asyncio.create_task(scene.command("EVAL", "while true do end", 0))
        await scene.pause(1.5)
        await scene.command("SCRIPT", "KILL")
    with contextlib.suppress(redis.RedisError):
        await endless


@scenario("C10", "scripts are forgotten, then everything is", control="ring", short=True, linear=False, forgets=True)
async def flushes(scene: Scene) -> None:
    await scene.hire(3)
    for _ in range(3):
        for words in (("SCRIPT", "FLUSH"), ("FLUSHALL",)):
            await scene.pause(1.2)
            scene.faults += 1
            await scene.command(*words)
    await scene.pause(2.0)


@scenario(
    "C13", "one half of the workers writes to a primary that the other half has left", control="ring", linear=False
)
async def split_brain(scene: Scene) -> None:
    new = await scene.enter(Server(scene.binary))
    await scene.command("REPLICAOF", "127.0.0.1", str(scene.server.port), server=new)
    away = await scene.enter(FaultProxy(scene.server.url))
    await scene.hire(2)
    await scene.hire(2, url=away.url)
    await scene.pause(2.0)
    scene.faults += 1
    # The new primary is not told of the last writes; then each half has its own for a while.
    await scene.command("REPLICAOF", "NO", "ONE", server=new)
    await scene.pause(0.5)
    scene.proxy.redirect(new.url)
    scene.proxy.reset()
    await scene.pause(3.0)
    away.redirect(new.url)
    away.reset()
    await scene.pause(3.0)
    scene.judged = new


@scenario("C11", "the password is changed, and changed back", server={"password": "first"})
async def rotation(scene: Scene) -> None:
    await scene.hire(3)
    await scene.pause(1.0)
    with redis.Redis.from_url(scene.server.url, single_connection_client=True) as client:
        async with scene.outage():
            await scene.do(lambda: client.config_set("requirepass", "second"))
            made = scene.proxy.connections
            scene.proxy.reset()
            await scene.pause(4.0)
            await scene.do(lambda: client.config_set("requirepass", "first"))
            # Each tries once or twice at first, and then every ten seconds.
            knocks = scene.proxy.connections - made
        scene.figures["connections"] = knocks
        scene.check(knocks <= 4 * len(scene.workers), "a wrong password was tried again and again")
    await asyncio.sleep(AGAIN)
    await scene.pause(1.0)


@scenario("C15", "the server's clock goes a minute forward, and back")
async def clock_steps(scene: Scene) -> None:
    clock = await scene.do(lambda: TurnedClock(scene.folder, scene.binary))
    server = await scene.enter(Server(clock.program))
    proxy = await scene.enter(FaultProxy(server.url))
    await scene.hire(3, url=proxy.url)
    before = await scene.command("TIME", server=server)
    for seconds in (60, 0, -60, 0):
        await scene.pause(1.0)
        scene.faults += 1
        clock.turn(seconds)
        proxy.reset()
    clock.turn(60)
    after = await scene.command("TIME", server=server)
    scene.check(after[0] - before[0] >= 60, "the clock did not turn")
    await scene.pause(1.0)
    scene.judged = server
