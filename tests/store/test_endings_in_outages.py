"""What ends, or is cleared, while Redis is away: it stays gone, and what is newer stays."""

from __future__ import annotations

import asyncio

import pytest

from polly_state.testing import Server
from tests.outages import QUICK, cut, in_thread, mend, state_at, until
from tests.testing.wire import ask

TTL = 0.6


@pytest.fixture(params=["memory", pytest.param("disk", marks=pytest.mark.blocking)])
async def state(request, proxy, namespace, tmp_path):
    directory = tmp_path / "journal" if request.param == "disk" else None
    async with state_at(proxy.url, namespace=namespace, breaker=QUICK, directory=directory) as state:
        yield state


def fields(state, ttl=TTL):
    return state.fields("f", str, ttl=ttl)


def counters(state, ttl=TTL):
    return state.counters("c", ttl=ttl)


async def test_a_clear_of_an_outage_is_not_lost_to_a_newer_field_of_somebody_else(proxy, state, other):
    await fields(state, None).patch("x", {"old": "1"})
    await fields(state, None).all("x")
    await cut(proxy, state)
    await fields(state, None).clear("x")
    assert await fields(state, None).all("x") == {}
    cleared_at = state._clock.stamp()
    await until(lambda: other._clock.stamp() > cleared_at)
    await fields(other, None).patch("x", {"new": "2"})
    await mend(proxy, state)
    assert await fields(other, None).all("x") == {"new": "2"}
    assert await fields(state, None).all("x") == {"new": "2"}


async def test_what_ended_in_an_outage_does_not_come_back_with_the_replay(proxy, state, other):
    await fields(state).all("x")
    await counters(state).value("x")
    await cut(proxy, state)
    await fields(state).patch("x", {"old": "1"})
    await state.map("m", str, ttl=TTL).set("x", "old")
    await state.sets("s", str, ttl=TTL).add("x", "old")
    await counters(state).add("x", 5)
    await asyncio.sleep(TTL + 0.1)
    assert (await fields(state).all("x"), await counters(state).value("x")) == ({}, 0)
    await fields(state).patch("x", {"new": "2"})
    await state.sets("s", str, ttl=TTL).add("x", "new")
    assert await counters(state).add("x") == 1
    assert await counters(state).add("x") == 2
    await mend(proxy, state)
    for view in (other, state):
        assert await fields(view).all("x") == {"new": "2"}
        assert await view.sets("s", str, ttl=TTL).all("x") == {"new"}
        assert await view.map("m", str, ttl=TTL).get("x") is None
        assert await counters(view).value("x") == 2
    assert await counters(state).add("x") == 3


async def test_additions_whose_window_is_over_do_not_count_in_somebody_elses(proxy, state, other):
    await counters(state).add("x", 3)
    await cut(proxy, state)
    await counters(state).add("x", 5)
    await asyncio.sleep(TTL + 0.1)
    assert await counters(other).add("x") == 1
    await mend(proxy, state)
    assert await counters(other).value("x") == 1
    assert await counters(state).add("x") == 2


@pytest.mark.blocking
async def test_a_window_counts_from_nothing_when_the_server_has_forgotten_the_totals(binary, namespace):
    with Server(binary) as server:
        async with state_at(server.url, namespace=namespace, repair=False) as state:
            assert await counters(state).add("x", 5) == 5
            await asyncio.sleep(TTL + 0.1)
            await in_thread(lambda: ask(server.url, "FLUSHALL"))
            assert await counters(state).add("x") == 1
