"""Limits and locks while Redis hangs, forgets, loses replies or is gone."""

from __future__ import annotations

import asyncio
import time

import pytest

from polly_state import Deadlines, LeaseLost, Mode, Origin, Rule, StoreUnavailable
from polly_state.commands import Acquire, Release
from polly_state.structures import holding
from polly_state.testing import Server
from tests.outages import QUICK, cut, in_thread, mend, state_at, until
from tests.testing.wire import ask

HOUR = 3600.0


@pytest.fixture
async def state(proxy, namespace):
    async with state_at(proxy.url, namespace=namespace, breaker=QUICK, processes=4) as state:
        yield state


async def test_a_share_is_admitted_in_an_outage_and_not_added_up_afterwards(proxy, state):
    limits = state.limiter("api", Rule("a", 100, HOUR))
    assert (await limits.admit("x")).remaining == 99
    await cut(proxy, state)
    found = [await limits.admit("x") for _ in range(100)]
    assert sum(each.allowed for each in found) == 6
    assert {each.origin for each in found} == {Origin.SHARE}
    assert found[-1].retry_after > 0
    await mend(proxy, state)
    again = await limits.admit("x")
    assert (again.remaining, again.origin) == (98, Origin.REDIS)


@pytest.mark.parametrize(("choice", "allowed"), [("allow", True), ("deny", False)])
async def test_who_does_not_share_decides_for_all(proxy, state, choice, allowed):
    limits = state.limiter("api", Rule("a", 2, HOUR), on_outage=choice)
    await cut(proxy, state)
    found = [await limits.admit("x") for _ in range(5)]
    assert {(each.allowed, each.origin) for each in found} == {(allowed, Origin.DEFAULT)}


async def test_what_was_used_up_before_the_outage_stays_so(proxy, state):
    limits = state.limiter("api", Rule("a", 100, HOUR))
    await limits.admit("x", cost=100)
    assert not (await limits.admit("x")).allowed
    await cut(proxy, state)
    assert not (await limits.admit("x")).allowed
    assert (await limits.admit("y")).allowed


async def test_a_reply_that_was_lost_counts_as_used_and_the_answer_is_from_here(proxy, state, other):
    limits, theirs = (each.limiter("api", Rule("a", 10, HOUR)) for each in (state, other))
    await limits.admit("x")
    proxy.drop_replies()
    decision = await limits.admit("x")
    assert (decision.allowed, decision.origin) == (True, Origin.SHARE)
    assert (await theirs.peek("x")).remaining == 8


async def test_a_reset_in_an_outage_reaches_redis_later(proxy, state, other):
    limits = state.limiter("api", Rule("a", 10, HOUR))
    await limits.admit("x", cost=10)
    await cut(proxy, state)
    await limits.reset("x")
    assert (await limits.admit("x")).allowed
    await mend(proxy, state)
    theirs = other.limiter("api", Rule("a", 10, HOUR))
    assert (await theirs.peek("x")).remaining == 10


async def test_locks_fail_closed_and_taken_is_not_unavailable(proxy, state):
    await cut(proxy, state)
    for attempt in (
        state.locks().try_acquire("a"),
        state.locks().acquire("a", timeout=5),
        state.semaphore("s", 2).try_acquire("a"),
        state.leases("l").claim("a", "me", ttl=5),
        state.tokens("t", int, ttl=5).issue(1),
        state.presence.beat("p", "me"),
    ):
        began = time.perf_counter()
        with pytest.raises(StoreUnavailable):
            await attempt
        assert time.perf_counter() - began < 5
    assert await state.locks("here", scope="local").try_acquire("a") is not None


async def test_a_lost_reply_acquires_in_the_retry(proxy, server, namespace):
    patient = Deadlines(operation=10, connect=10)
    async with (
        state_at(proxy.url, namespace=namespace, deadlines=patient) as state,
        state_at(server.url, namespace=namespace, deadlines=patient) as other,
    ):
        await lose_replies(proxy, state, other)


async def lose_replies(proxy, state, other):
    locks, theirs = state.locks(), other.leases("locks")
    await locks.acquire("warm")
    for number in range(10):
        proxy.drop_replies()
        task = asyncio.create_task(locks.acquire(number, timeout=0))
        async with asyncio.timeout(10):
            while await theirs.holder(number) is None:
                await asyncio.sleep(0)
        proxy.heal()
        lease = await task
        held = await theirs.holder(number)
        assert (lease.held, lease.fence) == (True, held.fence)
        assert await lease.release() is True
        assert await theirs.holder(number) is None
    # A reply that comes a moment after the others have seen its effect may come through.
    assert state.statistics().connection.retries >= 5


async def test_an_acquisition_that_was_given_up_leaves_no_lock_behind(proxy, state, other):
    await state.locks().acquire("warm")
    proxy.drop_replies()
    with pytest.raises(StoreUnavailable):
        await state.locks().acquire("a", timeout=0)
    proxy.heal()
    lease = await other.locks().acquire("a", timeout=5)
    assert lease.held


async def test_a_body_is_cancelled_before_its_lock_can_be_had_by_another(proxy, state, other):
    locks, theirs = state.locks("l", ttl=0.6), other.locks("l", ttl=0.6)
    ended = asyncio.Event()

    async def work():
        async with locks.hold("a"):
            try:
                await cut(proxy, state)
                await asyncio.sleep(10)
            finally:
                ended.set()

    task = asyncio.create_task(work())
    await until(lambda: state.mode is Mode.DEGRADED)
    lease = await theirs.acquire("a", timeout=10)
    assert ended.is_set()
    with pytest.raises(LeaseLost):
        await task
    assert lease.held


async def test_a_short_outage_costs_no_lock(proxy, state):
    async with state.locks("l", ttl=3).hold("a") as lease:
        await cut(proxy, state)
        await asyncio.sleep(0.1)
        await mend(proxy, state)
        rounds = state._watchdog.rounds
        await until(lambda: state._watchdog.rounds > rounds)
        assert lease.held


async def test_a_flush_is_noticed_by_the_holder_and_fences_go_on(binary, namespace):
    fences = []
    async with Server(binary) as server, state_at(server.url, namespace=namespace) as state:
        locks = state.locks("l", ttl=0.3)

        async def work():
            async with locks.hold("a") as lease:
                fences.append(lease.fence)
                await in_thread(lambda: ask(server.url, "FLUSHALL"))
                await asyncio.sleep(10)

        with pytest.raises(LeaseLost):
            await work()
        fences.append((await locks.acquire("a")).fence)
    assert fences[1] > fences[0]


def test_claims_are_known_again_and_may_be_sent_twice():
    for command in (Acquire("k", "t", 1.0), Release("k", "t")):
        assert command.effect.repeatable


async def test_processes_are_counted_while_redis_is_there(server, namespace):
    rule = Rule("a", 100, 60)
    async with state_at(server.url, namespace=namespace) as one, state_at(server.url, namespace=namespace) as two:
        for state in (one, two):
            await state.limiter("api", rule).admit("x")
        await until(lambda: two.processes == 2)
        assert one.processes in (1, 2)


@pytest.fixture
def patient(monkeypatch):
    """Nobody looks of their own accord."""
    for pause in ("LOOK", "DEAF", "LONGEST_DEAF"):
        monkeypatch.setattr(holding, pause, 1000.0)


def handles(state):
    return state.locks("l"), state.semaphore("s", 1)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("kind", [0, 1])
async def test_a_release_wakes_who_waits_in_another_process(server, namespace, other, kind):
    async with state_at(server.url, namespace=namespace) as state:
        held = await handles(other)[kind].acquire("a")
        waiter = asyncio.create_task(handles(state)[kind].acquire("a"))
        await until(lambda: any(map(state._channels.hears, state._channels.topics)))
        await asyncio.sleep(0.05)
        await held.release()
        assert (await asyncio.wait_for(waiter, 10)).held


@pytest.mark.usefixtures("patient")
async def test_the_lock_of_who_has_died_is_had_when_its_lease_ends(server, namespace, other):
    async with state_at(server.url, namespace=namespace) as state:
        locks = state.locks("l")
        await other._store.execute(Acquire(locks._key("a"), "dead", 0.3))
        assert (await asyncio.wait_for(locks.acquire("a"), 10)).held


@pytest.mark.parametrize("deaf", [False, True])
async def test_who_is_not_told_of_a_release_looks(server, namespace, other, monkeypatch, deaf):
    monkeypatch.setattr(holding, "LOOK", 1000.0 if deaf else 0.1)
    async with state_at(server.url, namespace=namespace) as state:
        if deaf:
            await state._stack._subscriber.aclose()
            state._channels.on_want = lambda: None
        locks = state.locks("l")
        await other.locks("l").acquire("a")
        waiter = asyncio.create_task(locks.acquire("a"))
        await until(lambda: deaf or any(map(state._channels.hears, state._channels.topics)))
        await asyncio.sleep(0.05)
        ask(server.url, f"DEL {locks._key('a')}")
        assert (await asyncio.wait_for(waiter, 10)).held


async def test_who_waits_for_a_local_lock_asks_redis_for_nothing(state):
    locks = state.locks("local", scope="local")
    lease = await locks.acquire("a")
    waiter = asyncio.create_task(locks.acquire("a"))
    await asyncio.sleep(0.02)
    assert state._channels.topics == set()
    await lease.release()
    assert (await asyncio.wait_for(waiter, 10)).held


async def test_of_all_who_wait_in_a_process_one_asks(server, namespace, other):
    async with state_at(server.url, namespace=namespace) as state:
        locks, order = state.locks("l"), []

        async def work(number):
            async with locks.hold("a"):
                order.append(number)

        held = await other.locks("l").acquire("a")
        waiters = [asyncio.create_task(work(0))]
        await until(lambda: any(map(state._channels.hears, state._channels.topics)))
        waiters += [asyncio.create_task(work(number)) for number in range(1, 20)]
        await asyncio.sleep(0.1)
        asked = state.statistics().operations["Acquire"].operations
        # At once, in its turn, and when releases were heard of.
        assert asked <= 4
        await held.release()
        await asyncio.wait_for(asyncio.gather(*waiters), 10)
        assert order == sorted(order)
        # No more than one in vain for each, when a task is woken for the turn of another.
        assert state.statistics().operations["Acquire"].operations - asked <= 40
