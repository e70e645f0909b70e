"""A full disk under the journal, while Redis is back: everybody is told the truth, and Redis gets what it can."""

from __future__ import annotations

import asyncio
import resource
import secrets
from contextlib import contextmanager

import pytest

from polly_state import BreakerSettings, LocalStoreFull, Mode
from polly_state.testing import FaultProxy
from tests.outages import state_at, until

pytestmark = pytest.mark.blocking

QUICK = BreakerSettings(probe_delay=0.02, probe_delay_cap=0.05)


@contextmanager
def full(directory, *, room):
    """The log of the journal cannot grow, and the file that it is brought into has *room* or not."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    (log,) = directory.glob("*-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size if room else 1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def degraded(proxy, state):
    proxy.refuse()
    proxy.reset()
    await until(lambda: state.mode is Mode.DEGRADED)


async def test_what_cannot_be_settled_is_answered_and_sent_all_the_same(server, tmp_path, monkeypatch):
    monkeypatch.setattr("polly_state.store.redis_stack.TIDY_INTERVAL", 1000.0)
    namespace, directory = f"full-{secrets.token_hex(4)}", tmp_path / "state"
    async with (
        FaultProxy(server.url) as proxy,
        state_at(server.url, namespace=namespace) as other,
        state_at(proxy.url, namespace=namespace, breaker=QUICK, directory=directory) as state,
    ):
        values, counts = state.map("m", str), state.counters("c")
        await counts.value("a")
        await degraded(proxy, state)
        await values.set("a", "kept")
        await counts.add("a", 3)
        with full(directory, room=False):
            with pytest.raises(LocalStoreFull):
                await values.set("b", "x" * 10_000)
            proxy.heal()
            await until(lambda: state.mode is Mode.RECOVERING)
            while await other.map("m", str).get("a") is None:
                await asyncio.sleep(0.005)
            for _ in range(5):
                assert (await values.get("a"), await counts.value("a")) == ("kept", 3)
            assert (state.mode, state.health().pending) == (Mode.RECOVERING, 2)
            await values.set("b", "goes to Redis")
        await until(lambda: state.mode is Mode.CONNECTED)
        assert await counts.add("a") == 4
        assert await other.counters("c").value("a") == 4
        # Each of them is noted once, however often it was sent.
        assert state._stack._resilient._ring.noted == 4


async def test_the_replay_makes_the_room_that_it_needs(server, tmp_path, monkeypatch):
    monkeypatch.setattr("polly_state.store.redis_stack.TIDY_INTERVAL", 1000.0)
    namespace, directory = f"full-{secrets.token_hex(4)}", tmp_path / "state"
    async with (
        FaultProxy(server.url) as proxy,
        state_at(proxy.url, namespace=namespace, breaker=QUICK, directory=directory) as state,
    ):
        values = state.map("m", str)
        await degraded(proxy, state)
        for number in range(20):
            await values.set(number, "x" * 1000)
        with full(directory, room=True):
            with pytest.raises(LocalStoreFull):
                await values.set("b", "x" * 10_000)
            proxy.heal()
            await until(lambda: state.mode is Mode.CONNECTED)
        assert state.health().pending == 0
