"""Repair: what a server forgets is sent to it again, what was wiped on purpose is not."""

from __future__ import annotations

import contextlib

import pytest

from polly_state import Bounds, Mode, StateError
from polly_state.commands import SetRegister
from polly_state.events import ServerLoss
from polly_state.stamps import HybridClock
from polly_state.store.repair import RING_SECONDS, Ring
from polly_state.testing import Clock, FaultProxy, Server
from tests.outages import QUICK, Record, in_thread, state_at, until
from tests.testing.wire import ask


@pytest.fixture
async def own_server(binary):
    async with Server(binary) as server:
        yield server


@contextlib.asynccontextmanager
async def filled(server, **parts):
    """A state that has written a register, fields, a toggle and a counter; the record of its events."""
    record = Record()
    async with state_at(server.url, (record,), breaker=QUICK, **parts) as state:
        await state.map("m", int).set("a", 1)
        await state.map("m", int).set("b", 1, ttl=1000)
        await state.fields("f", int).patch("h", {"x": 1, "y": 2})
        await state.fields("s", bool).toggle("h", "on")
        await state.counters("c").add("n", 5)
        await state.counters("c").add("n", -2)
        yield state, record


async def found(server, **parts):
    async with state_at(server.url, **parts) as fresh:
        return (
            await fresh.map("m", int).get_many(["a", "b"]),
            await fresh.fields("f", int).all("h"),
            await fresh.fields("s", bool).get("h", "on"),
            await fresh.counters("c").value("n"),
        )


ALL = ({"a": 1, "b": 1}, {"x": 1, "y": 2}, True, 3)
NOTHING = ({}, {}, None, 0)


async def test_a_server_that_restarts_empty_gets_everything_again(own_server):
    async with filled(own_server) as (state, record):
        await in_thread(own_server.restart)
        await until(lambda: record.of(ServerLoss) and state.mode is Mode.CONNECTED)
        assert await found(own_server) == ALL
        assert 990 < await state.map("m", int).time_to_live("b") <= 1001
        assert state.statistics().repair == (6, 0)
        assert [ServerLoss(6, 0)] == record.of(ServerLoss)


async def test_a_flush_is_repaired(own_server):
    async with filled(own_server) as (state, record):
        ask(own_server.url, "FLUSHALL")
        await until(lambda: record.of(ServerLoss) and not state.health().pending)
        assert await found(own_server) == ALL


async def test_what_the_server_still_has_is_not_done_twice(own_server):
    async with filled(own_server) as (state, record):
        # Only the watermark is gone: all else is sent again to a server that has it.
        async with state_at(own_server.url) as other:
            await other.map("m", int).set("a", 2)
        keys = [f"polly:~watermark:{state._clock.origin}"]
        ask(own_server.url, f"DEL {keys[0]}")
        await until(lambda: record.of(ServerLoss) and not state.health().pending)
        assert ({"a": 2, "b": 1}, *ALL[1:]) == await found(own_server)


async def test_a_toggle_is_sent_again_as_what_its_caller_was_told(own_server):
    async with filled(own_server) as (state, record):
        assert await state.fields("s", bool).toggle("h", "on") is False
        assert await state.fields("s", bool).toggle("h", "on") is True
        await in_thread(own_server.restart)
        await until(lambda: record.of(ServerLoss) and state.mode is Mode.CONNECTED)
        assert (await found(own_server))[2] is True


async def test_without_repair_a_loss_is_only_told(own_server):
    async with filled(own_server, repair=False) as (state, record):
        ask(own_server.url, "FLUSHALL")
        await until(lambda: record.of(ServerLoss))
        assert [ServerLoss(0, 6)] == record.of(ServerLoss)
        assert await found(own_server) == NOTHING
        assert state.statistics().repair == (0, 6)


async def test_what_the_ring_does_not_hold_any_more_is_told_as_possible_loss(own_server):
    async with filled(own_server, bounds=Bounds(ring_entries=2)) as (state, record):
        ask(own_server.url, "FLUSHALL")
        await until(lambda: record.of(ServerLoss) and not state.health().pending)
        assert [ServerLoss(2, 4)] == record.of(ServerLoss)


async def test_a_server_that_is_as_it_was_has_lost_nothing(own_server):
    async with FaultProxy(own_server.url) as proxy:
        record = Record()
        async with state_at(proxy.url, (record,), breaker=QUICK) as state:
            for number in range(5):
                await state.map("m", int).set("a", number)
                proxy.reset()
                with contextlib.suppress(StateError):
                    await state.map("m", int).get("a")
                await until(lambda: state.mode is Mode.CONNECTED)
            assert record.of(ServerLoss) == []


async def test_a_purge_is_for_good(own_server):
    async with filled(own_server) as (state, record), state_at(own_server.url, (other := Record(),)) as second:
        await second.map("m", int).set("c", 1)
        async with state_at(own_server.url, namespace="elsewhere") as elsewhere:
            await elsewhere.map("m", int).set("a", 1)
            await state.purge()
            assert await elsewhere.map("m", int).get("a") == 1
        assert await found(own_server) == NOTHING
        # Nobody sends anything again, also if the server forgets the rest.
        ask(own_server.url, "FLUSHALL")
        await until(lambda: ask(own_server.url, "EXISTS polly:~epoch") == [b":1"])
        await second.map("m", int).set("c", 2)
        assert await found(own_server) == NOTHING
        assert record.of(ServerLoss) == [] == [event for event in other.of(ServerLoss) if event.possible_loss]


async def test_a_purge_reaches_what_another_process_has_kept(own_server, tmp_path):
    async with FaultProxy(own_server.url) as proxy, state_at(proxy.url, breaker=QUICK) as away:
        await away.map("m", int).set("a", 1)
        proxy.refuse()
        proxy.reset()
        await until(lambda: away.mode is Mode.DEGRADED)
        await away.map("m", int).set("a", 2)
        async with state_at(own_server.url) as state:
            await state.purge()
        proxy.heal()
        await until(lambda: away.mode is Mode.CONNECTED)
        assert await away.map("m", int).get("a") is None


def test_the_ring_forgets_after_a_minute_and_over_its_bounds():
    time = Clock()
    clock = HybridClock(wall=time, monotonic=time)
    ring = Ring(clock, max_entries=3, max_bytes=1 << 20)

    def write(number):
        return SetRegister(str(number), clock.stamp(), b"x")

    for number in range(5):
        ring.note(write(number), True)
    assert (ring.first, ring.noted) == (2, 5)
    assert [write.command.key for write in ring.since(3)] == ["3", "4"]
    time.advance(RING_SECONDS)
    ring.note(write(5), True)
    ring.forget(clock.now() - 1.0)
    assert (ring.first, ring.noted) == (5, 6)
    small = Ring(clock, max_entries=100, max_bytes=1000)
    for number in range(10):
        small.note(write(number), True)
    assert 0 < small.noted - small.first < 5


@pytest.mark.parametrize("result", [False])
def test_what_did_nothing_is_not_sent_again(result):
    clock = HybridClock()
    ring = Ring(clock, max_entries=3, max_bytes=1 << 20)
    ring.note(SetRegister("k", clock.stamp(), b"1", expected=b"0"), result)
    assert [write.again() for write in ring.since(0)] == [()]
