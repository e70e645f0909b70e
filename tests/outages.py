"""What the tests of outages share: a wait with a bound, a state over a server, a record of events."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio.to_thread

from polly_state import Address, BreakerSettings, Deadlines, Mode, Settings
from polly_state.commands import load_scripts
from polly_state.connection.manager import ConnectionManager
from polly_state.stamps import HybridClock
from polly_state.state import PollyState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from polly_state.events import Event
    from polly_state.testing import FaultProxy

PATIENCE = 20.0
PATIENT = Deadlines(operation=0.75, connect=0.75)
QUICK = BreakerSettings(probe_delay=0.02, probe_delay_cap=0.05)

# A started state has read its scripts; a manager alone would do so on the event loop.
load_scripts()


async def until(condition: Callable[[], object], within: float = PATIENCE) -> float:
    """Wait until *condition* holds; the seconds that took."""
    began = time.perf_counter()
    while not condition():
        assert time.perf_counter() - began < within, f"still not so after {within} s"
        await asyncio.sleep(0.002)
    return time.perf_counter() - began


def isolate(manager: ConnectionManager, seconds: float) -> None:
    """Keep away from Redis for a while, as if it were down."""
    manager.circuits.isolate("by hand")
    asyncio.get_running_loop().call_later(seconds, manager.circuits.release)


async def cut(proxy: FaultProxy, state: PollyState) -> None:
    """Take Redis away from *state*."""
    proxy.refuse()
    proxy.reset()
    await until(lambda: state.mode is Mode.DEGRADED)


async def mend(proxy: FaultProxy, state: PollyState) -> None:
    """Give it back."""
    proxy.heal()
    await until(lambda: state.mode is Mode.CONNECTED)


async def later(state: PollyState, *, than: PollyState) -> None:
    """Wait until what *state* writes is newer than all that the other has written: their clocks differ a little."""
    newest = than._clock.stamp()
    await until(lambda: state._clock.stamp() > newest)


async def in_thread(work: Callable[[], object]) -> None:
    await anyio.to_thread.run_sync(work)


class Record(list):
    """An observer that keeps every event."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def of(self, kind: type) -> list:
        return [event for event in self if isinstance(event, kind)]


def settings_for(url: str, **parts) -> Settings:
    """Settings with time enough on a busy machine, unless the deadline is what is tested."""
    return Settings(address=Address.parse(url), **{"deadlines": PATIENT, **parts})


@asynccontextmanager
async def state_at(url: str, observers=(), **parts) -> AsyncIterator[PollyState]:
    async with PollyState(settings_for(url, **parts), observers=observers) as state:
        yield state


@asynccontextmanager
async def managed(url: str, **parts) -> AsyncIterator[ConnectionManager]:
    """A started manager; its `record` holds the events."""
    settings = settings_for(url, **parts)
    record = Record()
    manager = ConnectionManager(settings.address, settings, clock=HybridClock(), observe=record)
    manager.record = record
    await manager.start()
    try:
        yield manager
    finally:
        await manager.aclose()
