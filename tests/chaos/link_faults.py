"""C1, C4 to C7, C17: the server stands still, or the way to it is bad."""

from __future__ import annotations

import asyncio

from polly_state import BreakerSettings
from polly_state.connection.breaker import CircuitBreaker, Happening
from tests.chaos.controls import Forgetful
from tests.chaos.play import scenario
from tests.chaos.scene import Scene


@scenario("C1", "the server freezes for 2, 0.15 and 1 s", short=True)
async def freeze(scene: Scene) -> None:
    await scene.hire(3)
    for seconds in (2.0, 0.15, 1.0):
        await scene.pause(1.0)
        await scene.do(scene.server.freeze)
        async with scene.outage():
            await asyncio.sleep(seconds)
            # At the end of the outage the server answers, not later.
            await scene.do(scene.server.thaw)
    await scene.pause(2.0)


@scenario("C4", "25 resets, and replies that are lost before some of them", control="totals", short=True)
async def resets(scene: Scene) -> None:
    await scene.hire(3)
    for number in range(25):
        await asyncio.sleep(scene.lots.uniform(0.1, 0.4))
        scene.faults += 1
        if number % 2:
            scene.proxy.drop_replies()
            await asyncio.sleep(0.05)
            scene.proxy.heal()
        else:
            scene.proxy.reset()


@scenario(
    "C5", "nothing passes for 1.5 s, then no replies do, while others go another way", control="stamps", short=True
)
async def blackhole(scene: Scene) -> None:
    behind = await scene.hire(2)
    (beside,) = await scene.hire(1, url=scene.server.url)
    for fault in (scene.proxy.hold, scene.proxy.drop_replies):
        await scene.pause(1.0)
        async with scene.outage():
            fault()
            await asyncio.sleep(1.5)
            scene.proxy.heal()
    await scene.pause(2.0)
    async with scene.outage():
        scene.proxy.hold()
        await asyncio.sleep(1.0)
        for worker in behind:
            worker.tell_to_stop()
        # What these have kept is replayed after the other one has written the same keys.
        await scene.pause(1.0)
        await beside.stop()
        scene.proxy.heal()


@scenario("C6", "replies come 50 ms, 400 ms and 5 s late, and irregularly")
async def slow(scene: Scene) -> None:
    await scene.hire(3)
    for delay, jitter, seconds in ((0.025, 0.0, 2.0), (0.2, 0.0, 3.0), (2.5, 0.0, 4.0), (0.01, 0.2, 3.0)):
        scene.faults += 1
        scene.proxy.delay(delay, jitter)
        await scene.pause(seconds)
        scene.proxy.heal()
        await scene.pause(1.0)


@scenario("C7", "replies are cut off, sliced, and joined by garbage and a flood of pushes")
async def garbage(scene: Scene) -> None:
    await scene.hire(3)
    for _ in range(3):
        for fault in (
            lambda: scene.proxy.truncate(scene.lots.randrange(1, 300)),
            lambda: scene.proxy.slice(scene.lots.randrange(1, 7)),
            lambda: scene.proxy.extra_reply(b"\x00\xff garbage \r\n"),
            lambda: scene.proxy.extra_reply(b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n" * 500),
        ):
            await scene.pause(0.3)
            scene.faults += 1
            fault()
            await scene.pause(0.2)
            scene.proxy.heal()
    await scene.pause(1.0)


@scenario("C17", "up for 300 ms and down for 300 ms, 20 times", control="generations", short=True)
async def flapping(scene: Scene) -> None:
    await late_outcomes(scene)
    await scene.hire(3)
    for _ in range(20):
        await asyncio.sleep(0.3)
        scene.faults += 1
        scene.proxy.refuse()
        scene.proxy.reset()
        await asyncio.sleep(0.3)
        scene.proxy.heal()
    await scene.pause(2.0)


async def late_outcomes(scene: Scene) -> None:
    """What was asked before an outage fails after it: that is no second outage."""
    kind = Forgetful if scene.without == "generations" else CircuitBreaker
    breaker = kind("link", BreakerSettings())
    scene.proxy.hold()
    knocks = [asyncio.create_task(knock(scene.proxy.port, breaker)) for _ in range(10)]
    while scene.proxy.open < len(knocks):
        await asyncio.sleep(0.005)
    breaker.trip(breaker.generation, "no answer")
    for happening in (Happening.PROBE_STARTED, Happening.PROBE_SUCCEEDED):
        breaker.happen(happening)
    scene.proxy.reset()
    await asyncio.gather(*knocks)
    scene.proxy.heal()
    scene.figures["false_opens"] = int(not breaker.closed)
    scene.check(breaker.closed, "a late failure opened the circuit again")


async def knock(port: int, breaker: CircuitBreaker) -> None:
    """One call over a connection of its own, and what it tells the breaker."""
    generation = breaker.admit()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PING\r\n")
        answered = await reader.readline()
    except OSError:
        answered = b""
    if answered:
        breaker.succeeded(generation)
    else:
        breaker.failed(generation, "reset")
