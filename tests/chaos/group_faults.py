"""C12, C21: several servers are one Redis, and some of them fall over while slots move."""

from __future__ import annotations

import asyncio

from polly_state.cluster.slots import slot_of
from polly_state.testing import Server
from tests.chaos.play import scenario
from tests.chaos.scene import Scene
from tests.clusters import Clustered, clustered
from tests.sentinels import Watched, watched

PATIENCE = 60.0


@scenario("C12", "the master is killed, its successor frozen; Sentinels name another each time", linear=False)
async def sentinel(scene: Scene) -> None:
    group: Watched = await scene.enter(watched(scene.binary))
    await group.settled()
    await scene.hire(3, url=group.url)
    await scene.pause(2.0)
    async with scene.outage():
        await scene.do(group.master.kill)
        await one_master(scene, group)
    await scene.do(group.master.start)
    # It takes itself for the master, with nothing in it, until a Sentinel tells it otherwise.
    second = await one_master(scene, group)
    await scene.pause(4.0)
    async with scene.outage():
        second.freeze()
        await scene.pause(2.0)
    second.thaw()
    await one_master(scene, group)
    await scene.pause(2.0)
    scene.judged = await one_master(scene, group)


@scenario("C21", "a master of a Cluster is killed and replaced, another frozen, and slots move meanwhile", linear=False)
async def cluster(scene: Scene) -> None:
    group: Clustered = await scene.enter(clustered(scene.binary, replicas=1))
    first, second, third = group.masters
    await scene.hire(3, url=group.url)
    await scene.pause(2.0)
    async with scene.outage():
        await scene.do(first.kill)
        await scene.pause(3.0)
        await group.settled()
    # Whatever is called by a small number, which all of them write to.
    slots = {slot_of(str(number)) for number in range(8)}
    for slot in sorted(slots):
        if group.master_of(slot) is second:
            scene.faults += 1
            await group.move(slot, second, third)
    scene.faults += 1
    third.freeze()
    await scene.pause(2.0)
    third.thaw()
    await group.settled()
    await scene.pause(2.0)
    scene.judged = group


async def one_master(scene: Scene, group: Watched) -> Server:
    """Wait until one of the two alone takes writes."""
    async with asyncio.timeout(PATIENCE):
        while (found := await scene.do(group.master_now)) is None:
            await asyncio.sleep(0.05)
    return found
