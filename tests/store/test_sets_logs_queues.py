"""Sets, logs and queues while Redis comes and goes, forgets, or is not there at all: each write counts, and once."""

from __future__ import annotations

import asyncio

import pytest

from polly_state import Ack, Mode, Origin, PollyState, Settings, StateUnavailable
from polly_state.testing import Server
from tests.outages import QUICK, cut, in_thread, mend, state_at, until
from tests.testing.wire import ask

LIMIT = 20


def sets(state):
    return state.sets("tags", str)


def log(state, limit=LIMIT):
    return state.log("tracks", int, limit=limit)


def queue(state):
    return state.queue("inbox", int)


async def waiting(state, name="a"):
    return [message.value for message in await queue(state).waiting(name, 10_000)]


@pytest.mark.parametrize("disk", [False, pytest.param(True, marks=pytest.mark.blocking)], ids=["memory", "disk"])
async def test_no_write_is_lost_over_an_outage(proxy, namespace, other, tmp_path, disk):
    directory = tmp_path / "journal" if disk else None
    async with state_at(proxy.url, namespace=namespace, breaker=QUICK, directory=directory) as state:
        await sets(state).add("a", "stays", "goes")
        await sets(state).add("cleared", "old")
        await log(state).append("a", 0)
        await log(state).append("cleared", 0)
        await queue(state).put("a", 0)
        await cut(proxy, state)
        kept = Ack.LOCAL_DURABLE if disk else Ack.LOCAL_VOLATILE
        assert await sets(state).add("a", "new", "brief") is kept
        await sets(state).remove("a", "goes", "brief")
        await sets(state).clear("cleared")
        await log(state).clear("cleared")
        for number in range(1, 4):
            assert await log(state).append("a", number) is kept
            assert await queue(state).put("a", number) is kept
        await asyncio.sleep(0.01)
        await sets(other).add("a", "theirs")
        await log(other).append("a", 100)
        await queue(other).put("a", 100)
        await mend(proxy, state)
        for view in (state, other):
            assert await sets(view).all("a") == {"stays", "new", "theirs"}
            assert await sets(view).all("cleared") == set()
            assert await log(view).latest("a") == [100, 3, 2, 1, 0]
            assert await log(view).latest("cleared") == []
            assert await waiting(view) == [0, 100, 1, 2, 3]
        assert state.health().pending == 0


async def test_in_an_outage_what_is_known_is_answered_and_the_rest_is_unknown(proxy, namespace, other):
    await sets(other).add("unseen", "x")
    async with state_at(proxy.url, namespace=namespace, breaker=QUICK) as state:
        await sets(state).all("a")
        await log(state).latest("a")
        await queue(state).waiting("a")
        await cut(proxy, state)
        await sets(state).add("a", "mine")
        await log(state).append("a", 1)
        await queue(state).put("a", 1)
        for found, value in (
            (await sets(state).read("a"), {"mine"}),
            (await log(state).read("a"), [1]),
        ):
            assert (found.value, found.origin, found.stale) == (value, Origin.JOURNAL, False)
        assert await waiting(state) == [1]
        assert await sets(state).add("unseen", "y")
        assert await sets(state).contains("unseen", "y")
        for read in (
            sets(state).all("unseen"),
            sets(state).contains("unseen", "x"),
            log(state).latest("unseen"),
            queue(state).waiting("unseen"),
        ):
            with pytest.raises(StateUnavailable):
                await read
        assert (await sets(state).read("unseen", {"?"}))[:2] == ({"?"}, Origin.DEFAULT)
        assert (await log(state).read("unseen"))[:2] == ([], Origin.DEFAULT)
        await mend(proxy, state)
        assert await sets(state).all("unseen") == {"x", "y"}


async def test_a_long_outage_keeps_no_more_of_a_log_than_the_log_does(proxy, namespace, other):
    async with state_at(proxy.url, namespace=namespace, breaker=QUICK) as state:
        await cut(proxy, state)
        for number in range(10 * LIMIT):
            await log(state).append("a", number)
        assert state.health().pending == LIMIT
        await mend(proxy, state)
        assert await log(other).latest("a") == list(reversed(range(9 * LIMIT, 10 * LIMIT)))


async def test_each_write_counts_once_when_replies_are_lost_and_connections_are_reset(proxy, namespace, other):
    async with state_at(proxy.url, namespace=namespace, breaker=QUICK) as state:

        async def write(number):
            await queue(state).put("a", number)
            await log(state, 1000).append("a", number)
            await sets(state).add("a", str(number))
            await sets(state).remove("a", str(number - 1))

        async def misbehave():
            for _ in range(12):
                await until(lambda: state.mode is not Mode.DEGRADED)
                await asyncio.sleep(0.02)
                proxy.drop_replies()
                await asyncio.sleep(0.003)
                proxy.reset()
                proxy.heal()

        misbehaving = asyncio.create_task(misbehave())
        for number in range(0, 400, 20):
            await asyncio.gather(*(write(each) for each in range(number, number + 20)))
            await asyncio.sleep(0.01)
        await misbehaving
        await until(lambda: state.mode is Mode.CONNECTED)
        assert state.statistics().connection.connections > 5
        found = await waiting(other)
        assert sorted(found) == list(range(400))
        assert sorted(await log(other, 1000).latest("a")) == list(range(400))
        assert state.health().pending == 0


@pytest.mark.blocking
async def test_what_the_server_forgot_is_sent_again(binary, namespace):
    with Server(binary) as server:
        async with state_at(server.url, namespace=namespace, breaker=QUICK) as state:
            await sets(state).add("a", "x", "y")
            await sets(state).remove("a", "y")
            await log(state).append("a", 1)
            await log(state).clear("a")
            await log(state).append("a", 2)
            for number in range(3):
                await queue(state).put("a", number)
            await asyncio.sleep(1.5)
            await in_thread(lambda: ask(server.url, "FLUSHALL"))
            async with asyncio.timeout(10):
                while await sets(state).all("a") != {"x"} or len(await waiting(state)) < 3:
                    await asyncio.sleep(0.02)
            assert await log(state).latest("a") == [2]
            assert await waiting(state) == [0, 1, 2]


@pytest.fixture
def embedded(tmp_path):
    return Settings(directory=tmp_path / "state")


@pytest.mark.blocking
async def test_without_a_redis_a_directory_keeps_everything(embedded):
    async with PollyState(embedded) as state:
        await sets(state).add("a", "x", "y")
        await sets(state).remove("a", "x")
        await sets(state).add("cleared", "x")
        await sets(state).clear("cleared")
        for number in range(2 * LIMIT):
            await log(state).append("a", number)
        for number in range(5):
            await queue(state).put("a", number)
    async with PollyState(embedded) as state:
        assert await sets(state).all("a") == {"y"}
        assert await sets(state).all("cleared") == set()
        assert await log(state).latest("a") == list(reversed(range(LIMIT, 2 * LIMIT)))
        assert await waiting(state) == list(range(5))
        assert state.statistics().journal.entries <= LIMIT + 5 + 4


@pytest.mark.blocking
async def test_two_states_over_a_directory_see_each_others_writes(embedded):
    async with PollyState(embedded) as one, PollyState(embedded) as two:
        for number in range(3):
            for state in (one, two):
                await sets(state).add("a", str(number))
                await log(state, 4).append("a", number)
                await queue(state).put("a", number)
        for state in (one, two):
            assert await sets(state).all("a") == {"0", "1", "2"}
            assert sorted(await log(state, 4).latest("a")) == [1, 1, 2, 2]
            assert await waiting(state) == [0, 0, 1, 1, 2, 2]
        await sets(one).clear("a")
        await log(one, 4).clear("a")
        assert await sets(two).all("a") == set()
        assert await log(two, 4).latest("a") == []


async def test_a_family_has_one_kind_one_type_and_one_limit(embedded):
    state = PollyState(embedded)
    assert state.log("tracks", int, limit=5) is state.log("tracks", int, limit=5)
    for other in (
        lambda: state.log("tracks", int, limit=6),
        lambda: state.log("tracks", str, limit=5),
        lambda: state.queue("tracks", int),
        lambda: state.sets("tracks", int),
    ):
        with pytest.raises(ValueError, match="exists already"):
            other()
