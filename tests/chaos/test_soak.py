"""Long runs under random faults of the way to Redis; `nox -s chaos` runs them."""

from __future__ import annotations

import asyncio
import random

import pytest

from polly_state import Mode, PollyState, StateError
from polly_state.testing import FaultProxy, Server
from tests.outages import in_thread, settings_for, until

SECONDS = 20.0
BOTS = 12


class Tally:
    """What a bot was told: additions that count, those that may, and the last state of each switch."""

    def __init__(self) -> None:
        self.sure: dict[str, int] = {}
        self.unsure: dict[str, int] = {}
        self.switches: dict[str, bool | None] = {}
        self.calls = 0


def faults(proxy: FaultProxy) -> list:
    return [
        proxy.reset,
        proxy.drop_replies,
        proxy.hold,
        lambda: (proxy.refuse(), proxy.reset()),
        lambda: proxy.delay(0.02, 0.02),
        lambda: proxy.truncate(100),
        lambda: proxy.slice(3),
    ]


async def bot(state: PollyState, number: int, tally: Tally, stop: list) -> None:
    """Add to shared counters, and turn switches that are this bot's alone."""
    lots = random.Random(number)
    plays, switches = state.counters("plays"), state.fields("switches", bool)
    while not stop:
        tally.calls += 1
        counter, switch = f"c{lots.randrange(4)}", f"{number}-{lots.randrange(3)}"
        try:
            await plays.add(counter)
            tally.sure[counter] = tally.sure.get(counter, 0) + 1
        except StateError as error:
            if getattr(error, "maybe_applied", False):
                tally.unsure[counter] = tally.unsure.get(counter, 0) + 1
        try:
            tally.switches[switch] = await switches.toggle("all", switch)
        except StateError as error:
            if getattr(error, "maybe_applied", False):
                tally.switches[switch] = None
        await asyncio.sleep(lots.uniform(0, 0.005))


async def act(proxy: FaultProxy, server: Server, lots: random.Random) -> None:
    """One fault for a moment, or a frozen server, then a moment of peace."""
    kinds = faults(proxy)
    pick = lots.randrange(len(kinds) + 1)
    if pick == len(kinds):
        await in_thread(server.freeze)
        await asyncio.sleep(lots.uniform(0.05, 0.6))
        await in_thread(server.thaw)
        return
    kinds[pick]()
    await asyncio.sleep(lots.uniform(0.02, 0.6))
    proxy.heal()


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(5))
async def test_what_was_acknowledged_is_there_once_after_random_faults(binary, seed):
    lots, tally, stop = random.Random(seed), Tally(), []
    async with Server(binary) as server, FaultProxy(server.url) as proxy:
        async with PollyState(settings_for(proxy.url), observers=()) as state:
            bots = [asyncio.create_task(bot(state, number, tally, stop)) for number in range(BOTS)]
            ends = asyncio.get_running_loop().time() + SECONDS
            while asyncio.get_running_loop().time() < ends:
                await act(proxy, server, lots)
                await asyncio.sleep(lots.uniform(0.0, 0.8))
            stop.append(True)
            await asyncio.gather(*bots)
            await until(lambda: state.mode is Mode.CONNECTED, within=10.0)
        async with PollyState(settings_for(server.url), observers=()) as fresh:
            counted = {name: await fresh.counters("plays").value(name) for name in tally.sure}
            turned = await fresh.fields("switches", bool).all("all")
    assert tally.calls > 1000
    for name, value in counted.items():
        assert tally.sure[name] <= value <= tally.sure[name] + tally.unsure.get(name, 0)
    told = {name: on for name, on in tally.switches.items() if on is not None}
    assert told == {name: turned.get(name) for name in told}
