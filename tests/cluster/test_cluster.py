"""A Cluster at rest: each command reaches the server that has its slot, and all of them are one state."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from polly_state import Ack, Address, CommandRejected, ConfigurationError, Lifetime, Mode, Origin, Rule
from polly_state.cluster.slots import slot_of
from polly_state.commands import Add, Count
from polly_state.connection.breaker import CircuitState
from polly_state.testing import FaultProxy
from tests.clusters import ask, clustered
from tests.outages import QUICK, cut, in_thread, state_at, until
from tests.stores import connected

EXACT = Lifetime(ttl=60, near=False)


@pytest.fixture
async def state(cluster_server, namespace):
    async with state_at(cluster_server.url, namespace=namespace) as state:
        yield state


@pytest.fixture
async def other(cluster_server, namespace):
    async with state_at(cluster_server.url, namespace=namespace) as state:
        yield state


async def test_keys_are_spread_over_all_servers_and_found_again(state, cluster_server, namespace):
    documents = state.map("documents", dict)
    await asyncio.gather(*(documents.set(number, {"n": number}) for number in range(60)))
    assert [(await documents.get(number))["n"] for number in range(60)] == [*range(60)]
    assert {(await documents.read(number)).origin for number in range(60)} == {Origin.REDIS}
    for number in range(60):
        key = f"{namespace}:documents:{{{number}}}"
        assert await ask(cluster_server.master_of(slot_of(key)), "EXISTS", key) == 1
    assert state.mode is Mode.CONNECTED
    connection = state.statistics().connection
    assert (connection.connected, connection.connections, connection.retries) == (True, 3, 0)
    assert connection.address == ",".join(f"127.0.0.1:{server.port}" for server in cluster_server.servers)
    assert 0 < await state.ping() < 20


async def test_any_server_is_enough_to_find_the_others(cluster_server, namespace):
    for server in cluster_server.servers:
        url = server.url.replace("redis://", "redis+cluster://")
        async with state_at(url, namespace=namespace) as state:
            assert state.statistics().connection.connections == 3


async def test_what_is_near_is_dropped_whichever_server_tells(state, other, namespace):
    mine, theirs = (each.cache.family("texts", str, ttl=60) for each in (state, other))
    for round_ in range(2):
        for number in range(20):
            await theirs.set(number, f"v{round_}")
        for number in range(20):
            # A value is kept near once the news of its own write is over.
            while (await mine.read(number)).origin is not Origin.NEAR:
                assert (await mine.read(number)).value == f"v{round_}"
                await asyncio.sleep(0.001)
            await theirs.set(number, "newer")
            async with asyncio.timeout(20):
                while await mine.get(number) != "newer":
                    await asyncio.sleep(0.001)
    assert state.statistics().near.tracked


async def test_an_invalidation_reaches_entries_on_every_server(state, other):
    mine, theirs = (each.cache.family("texts", str, ttl=60) for each in (state, other))
    await mine.set_many(dict.fromkeys(range(20), "v"), tags=["all"])
    assert len(await theirs.get_many(range(20))) == 20
    await other.cache.invalidate_tag("all")
    assert await theirs.get_many(range(20)) == {}
    async with asyncio.timeout(20):
        while await mine.get_many(range(20)):
            await asyncio.sleep(0.001)


def ids_elsewhere(cluster, state, family):
    """Ids of entries that another server has than the one that has the families' markers."""
    markers = cluster.master_of(slot_of(state.cache._shared.markers._families))
    family = state.cache.family(family, int, lifetime=EXACT)
    return [number for number in range(60) if cluster.master_of(slot_of(family._key(number))) is not markers]


async def test_what_is_asked_for_each_time_waits_for_the_news_of_another_server(state, other, cluster_server):
    mine, theirs = (each.cache.family("exact", int, lifetime=EXACT) for each in (state, other))
    name, *_ = ids_elsewhere(cluster_server, state, "exact")
    await theirs.set(name, 1)
    assert await mine.get(name) == await mine.get(name) == 1
    markers = cluster_server.master_of(slot_of(state.cache._shared.markers._families))
    transport = state._stack._connection._nodes["127.0.0.1", markers.port]._current._transport
    # What Redis tells of the invalidation is on its way, while the entry's server answers at once.
    transport.pause_reading()
    await theirs.invalidate()
    asked = asyncio.create_task(mine.get(name))
    await asyncio.sleep(0.05)
    transport.resume_reading()
    assert await asked is None


async def test_while_nobody_tells_of_invalidations_what_another_server_has_is_labelled(binary):
    async with clustered(binary) as cluster, state_at(cluster.url, breaker=QUICK) as state:
        cached = state.cache.family("exact", int, lifetime=EXACT)
        name, *_ = ids_elsewhere(cluster, state, "exact")
        await cached.set(name, 1)
        found = await cached.read(name)
        assert (found.value, found.origin, found.stale) == (1, Origin.REDIS, False)
        await in_thread(cluster.master_of(slot_of(state.cache._shared.markers._families)).kill)
        await until(lambda: state.statistics().connection.link is not CircuitState.CLOSED)
        found = await cached.read(name)
        assert (found.value, found.origin, found.stale) == (1, Origin.MIRROR, True)


async def test_a_server_that_is_asked_wrongly_names_the_right_one_which_is_found_by_that(cluster_server):
    # Without the upkeep of a state, which would find out by itself.
    async with connected(cluster_server.url) as bench:
        topology, keys = bench.connection._topology, [bench.key(number) for number in range(30)]

        async def add(total):
            await asyncio.gather(*(bench.do(Add(key, bench.stamp(), "me", total, 1)) for key in keys))

        await add(1)
        first, *_, last = topology.nodes.values()
        for number, wrong in enumerate((first, last)):
            topology.slots[:] = [wrong] * len(topology.slots)
            topology._ranges = ()
            await add(number + 2)
            await until(lambda: len(set(topology.slots)) == 3)
        assert [await bench.do(Count(key)) for key in keys] == [3] * 30


async def test_whoever_decides_about_the_mode_is_told_of_each_server(binary):
    async with clustered(binary) as cluster, connected(cluster.url) as bench:
        told = asyncio.Event()
        bench.connection.circuits.on_change.append(told.set)
        await in_thread(cluster.masters[0].kill)
        async with asyncio.timeout(20):
            await told.wait()
        assert bench.connection.circuits.link.closed


async def test_who_waits_is_woken_whichever_server_has_the_key(state, other):
    for number in range(6):
        async with asyncio.timeout(20):
            held = await state.locks().acquire(("room", number))
            waiting = asyncio.create_task(other.locks().acquire(("room", number)))
            await asyncio.sleep(0.02)
            await held.release()
            await (await waiting).release()
            async with aclosing(other.inboxes.listen(f"bot{number}")) as messages:
                heard = asyncio.create_task(anext(messages))
                await asyncio.sleep(0.02)
                await state.inboxes.send(f"bot{number}", {"n": number})
                assert (await heard).value.content == {"n": number}


async def test_a_watch_sees_every_server(state, other):
    documents = other.map("documents", int)
    async with asyncio.timeout(20):
        for number in range(6):
            async with aclosing(state.map("documents", int).watch(number)) as changes:
                assert await anext(changes) is None
                await documents.set(number, number + 1)
                assert await anext(changes) == number + 1


async def test_a_purge_empties_every_server(state, other, cluster_server, namespace):
    documents = state.map("documents", int)
    await asyncio.gather(*(documents.set(number, number) for number in range(30)))
    await other.map("documents", int).set("late", 1)
    await state.purge()
    for server in cluster_server.masters:
        found = await ask(server, "KEYS", f"{namespace}:[^~]*")
        assert found == []
        assert await ask(server, "KEYS", f"{namespace}:~m:*") == []
    assert await documents.get(3) is None


async def test_a_decision_about_ids_of_two_slots_is_refused_and_says_so(state):
    limits = state.limiter("l", Rule("user", 2, 60), Rule("guild", 3, 60))
    assert (await limits.admit("ann", "user")).allowed
    with pytest.raises(CommandRejected, match="several slots; do one thing for each id"):
        await limits.admit_all(("user", "ann"), ("guild", "g"))


async def test_a_plain_url_to_a_server_of_a_cluster_says_what_to_use(cluster_server, namespace):
    async with state_at(cluster_server.masters[0].url, namespace=namespace) as state:
        with pytest.raises(CommandRejected, match=r"use redis\+cluster://"):
            await asyncio.gather(*(state.map("m", int).set(number, 1) for number in range(20)))


async def test_writes_that_were_kept_for_a_cluster_by_a_plain_url_are_not_given_up(cluster_server, namespace):
    async with (
        FaultProxy(cluster_server.masters[0].url) as proxy,
        state_at(proxy.url, namespace=namespace, breaker=QUICK) as state,
    ):
        await cut(proxy, state)
        for number in range(10):
            assert await state.map("m", int).set(number, number) is Ack.LOCAL_VOLATILE
        proxy.heal()
        # Those that the server takes are replayed; it names others for the rest, which nobody here asks.
        await until(lambda: state.statistics().replay.replayed)
        await until(lambda: state.mode is Mode.RECOVERING)
        found = state.statistics()
        assert (found.replay.dead, 0 < found.pending < 10) == (0, True)


async def test_who_may_not_ask_how_the_cluster_is_trusts_nothing_near(cluster_server, namespace):
    for server in cluster_server.masters:
        await ask(server, "ACL", "SETUSER", "shy", "on", ">pw", "~*", "&*", "+@all", "-cluster|info")
    url = cluster_server.url.replace("redis+cluster://", "redis+cluster://shy:pw@")
    async with state_at(url, namespace=namespace) as state:
        texts = state.cache.family("texts", str, ttl=60)
        await texts.set(1, "v")
        for _ in range(20):
            assert (await texts.read(1)).origin is Origin.REDIS
        assert not state.statistics().near.tracked
    for server in cluster_server.masters:
        await ask(server, "ACL", "SETUSER", "shy", "-cluster|slots")
    with pytest.raises(CommandRejected, match="ACL"):
        async with state_at(url, namespace=namespace):
            pass


async def test_a_cluster_url_to_a_server_by_itself_says_what_to_use(server):
    with pytest.raises(ConfigurationError, match="in no Cluster; use redis://"):
        async with state_at(server.url.replace("redis://", "redis+cluster://").removesuffix("/0")):
            pass


@pytest.mark.parametrize(
    ("url", "nodes"),
    [
        ("redis+cluster://a", (("a", 6379),)),
        ("valkey+cluster://u:p%40@a:1,b:2,[::1]:3/0", (("a", 1), ("b", 2), ("::1", 3))),
        ("rediss+cluster://a:1,b", (("a", 1), ("b", 6379))),
    ],
)
def test_a_url_names_any_servers(url, nodes):
    address = Address.parse(url)
    assert address.nodes == nodes
    assert str(address) == ",".join(f"{host}:{port}" for host, port in nodes)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("redis+cluster://a/3", "no database but 0"),
        ("redis://a,b", r"several hosts are for redis\+cluster"),
        ("unix+cluster:///a", "unknown scheme"),
        ("redis+cluster://a:b", "not a URL"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(url, advice):
    with pytest.raises(ConfigurationError, match=advice):
        Address.parse(url)
