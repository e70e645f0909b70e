"""C20: any fault at any time."""

from __future__ import annotations

import asyncio

from tests.chaos.play import scenario
from tests.chaos.scene import Scene

SECONDS = 60.0


@scenario("C20", "a random schedule of all faults of the way and of the server", short=True, linear=False, forgets=True)
async def soak(scene: Scene) -> None:
    await scene.hire(3)
    loop = asyncio.get_running_loop()
    ends = loop.time() + SECONDS * scene.pace
    while loop.time() < ends:
        await asyncio.sleep(scene.lots.uniform(0.0, 0.8))
        scene.faults += 1
        await act(scene)


async def act(scene: Scene) -> None:
    """One fault for a moment."""
    proxy, lots, server = scene.proxy, scene.lots, scene.server
    pick = lots.randrange(10)
    if pick < 7:
        (
            proxy.reset,
            proxy.drop_replies,
            proxy.hold,
            lambda: (proxy.refuse(), proxy.reset()),
            lambda: proxy.delay(0.02, 0.02),
            lambda: proxy.truncate(100),
            lambda: proxy.slice(3),
        )[pick]()
        await asyncio.sleep(lots.uniform(0.02, 0.6))
        proxy.heal()
    elif pick == 7:
        await scene.do(server.freeze)
        await asyncio.sleep(lots.uniform(0.05, 0.6))
        await scene.do(server.thaw)
    elif pick == 8:
        await scene.do(server.kill)
        await asyncio.sleep(lots.uniform(0.0, 0.5))
        await scene.do(server.start)
    else:
        await scene.command("SCRIPT", "FLUSH")
        await scene.command("FLUSHALL")
