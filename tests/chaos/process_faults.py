"""C8, C14, C16, C18, C19: too much, too little room, and workers that end."""

from __future__ import annotations

import redis

from tests.chaos.play import scenario
from tests.chaos.scene import Scene


@scenario("C8", "no connection is to be had, and more is asked for than may be in flight")
async def exhausted(scene: Scene) -> None:
    await scene.hire(2)
    await scene.hire(1, in_flight=4, tasks=64, pause=0.002)
    await scene.pause(1.0)
    # Who has a connection already can make room again.
    with redis.Redis.from_url(scene.server.url, single_connection_client=True) as client:
        limit = (await scene.do(lambda: client.config_get("maxclients")))["maxclients"]
        await scene.do(lambda: client.config_set("maxclients", 1))
        async with scene.outage():
            scene.proxy.reset()
            await scene.pause(2.0)
            await scene.do(lambda: client.config_set("maxclients", limit))
    await scene.pause(2.0)


@scenario("C14", "workers that share a directory are killed four times while Redis is away", short=True)
async def killed_workers(scene: Scene) -> None:
    directory = str(scene.folder / "state")
    await scene.hire(3, directory=directory)
    killed = 0
    for _ in range(2):
        await scene.pause(1.0)
        async with scene.outage():
            scene.proxy.refuse()
            scene.proxy.reset()
            await scene.pause(1.0)
            victims = scene.workers[killed : killed + 2]
            for victim in victims:
                await victim.kill()
                scene.faults += 1
            killed += len(victims)
            await scene.hire(2, directory=directory)
            await scene.pause(0.5)
            scene.proxy.heal()
    await scene.pause(2.0)


@scenario("C16", "calls are cancelled at any moment, while the way to Redis is bad")
async def cancellations(scene: Scene) -> None:
    await scene.hire(3, cancel=0.5)
    for fault in (lambda: scene.proxy.delay(0.001, 0.004), scene.proxy.reset, scene.proxy.hold):
        await scene.pause(1.5)
        scene.faults += 1
        fault()
        await scene.pause(1.0)
        scene.proxy.heal()
    await scene.pause(1.0)


@scenario("C18", "the disk of the journal is full while Redis is away", short=True)
async def full_disk(scene: Scene) -> None:
    directory = str(scene.folder / "state")
    await scene.hire(2, directory=directory, file_bytes=3_000_000)
    await scene.pause(1.0)
    async with scene.outage():
        scene.proxy.refuse()
        scene.proxy.reset()
        await scene.pause(5.0)
        scene.proxy.heal()
    await scene.pause(2.0)


@scenario("C19", "many tasks of three processes come back at once, with thousands of kept writes")
async def herd(scene: Scene) -> None:
    await scene.hire(3, tasks=50, pause=0.02)
    await scene.pause(1.0)
    async with scene.outage():
        scene.proxy.refuse()
        scene.proxy.reset()
        await scene.pause(6.0)
        scene.proxy.heal()
    await scene.pause(3.0)
