"""Tracking: what Redis tells of reaches the near cache, and what it can not tell of is not handed out."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from functools import partial

import pytest
from redis.asyncio import Redis

from benchmarks.ages import Hit, Outcome, Write, ages
from benchmarks.staleness import observed
from polly_state import Bounds, ConfigurationError, PollyState, Settings
from polly_state.commands import Delete, Get, Set
from polly_state.connection import ConnectionManager
from polly_state.connection.server_time import round_trip
from polly_state.errors import StoreUnavailable
from polly_state.near import MISSING, NearCache
from polly_state.near.tracking import MANY, SILENCE, Tracking
from polly_state.stamps import HybridClock
from polly_state.testing import Clock, FaultProxy, Server
from tests.connection.peers import Peer, redis_like
from tests.outages import PATIENCE, in_thread, settings_for, state_at, until


class Cached:
    """Reads of a state by way of its near cache, and another client of the same server."""

    def __init__(self, state, other):
        self._stack = state._stack
        self.near = state._stack.near
        self.execute = state._store.execute
        self.other = other
        self.namespace = state.settings.namespace

    def key(self, name="k"):
        return f"{self.namespace}:cache.t:{{{name}}}"

    @property
    def link(self):
        return self._stack._connection._current

    async def read(self, key):
        if (value := self.near.get(key)) is not MISSING:
            return value
        ticket = self.near.begin(key)
        answer = await self.execute(Get(key))
        self.near.fill(key, ticket, answer.value, 0, None)
        return answer.value

    async def kept(self, key, content=b"old"):
        """Have *content* in Redis, and here; what was told of the write that made it so is in."""
        await self.other.set(key, content)
        await until(lambda: self.near.statistics().tracked)
        while self.near.get(key) is MISSING:
            assert await self.read(key) == content
            await asyncio.sleep(0.002)
        return self.near.statistics()

    def gone(self, key):
        return until(lambda: self.near.get(key) is MISSING)


@asynccontextmanager
async def caching(server, url=None, **parts):
    namespace = secrets.token_hex(4)
    async with (
        state_at(url or server.url, namespace=namespace, **parts) as state,
        Redis.from_url(server.url) as other,
    ):
        yield Cached(state, other)


@pytest.fixture(params=["valkey", "redis"])
def each_server(request):
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
async def cached(each_server):
    async with caching(each_server) as found:
        yield found


CHANGES = {
    "set": lambda other, key: other.set(key, b"new"),
    "delete": lambda other, key: other.delete(key),
    "rename": lambda other, key: other.rename(key, key + "x"),
    "script": lambda other, key: other.eval("redis.call('SET', KEYS[1], 'new')", 1, key),
    "flushdb": lambda other, _: other.flushdb(),
    "flushall": lambda other, _: other.flushall(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_change_by_somebody_else_is_heard_of(cached, change):
    key = cached.key()
    await cached.kept(key)
    await change(cached.other, key)
    await cached.gone(key)
    assert await cached.read(key) in (b"new", None)


async def test_an_end_in_redis_is_heard_of(cached):
    key = cached.key()
    await cached.kept(key)
    await cached.other.pexpire(key, 100)
    async with asyncio.timeout(PATIENCE):
        while await cached.read(key) is not None:
            await asyncio.sleep(0.01)


async def test_own_writes_are_heard_of_as_well(cached):
    # One whose reply was lost may still happen: nobody would be there to drop what was read meanwhile.
    key = cached.key()
    await cached.kept(key)
    await cached.execute(Set(key, b"new"))
    await cached.gone(key)
    assert await cached.read(key) == b"new"


async def test_a_missing_value_is_kept_until_there_is_one(cached):
    key = cached.key("missing")
    assert await cached.read(key) is None
    assert cached.near.get(key) is None
    await cached.other.set(key, b"new")
    await cached.gone(key)


@pytest.mark.parametrize("change", ["set", "flushdb"])
async def test_an_answer_that_was_overtaken_is_not_kept(cached, change):
    key = cached.key()
    before = await cached.kept(key)
    ticket = cached.near.begin(key)
    old = (await cached.execute(Get(key))).value
    await CHANGES[change](cached.other, key)
    await until(lambda: cached.near.statistics()[5:7] != before[5:7])
    cached.near.fill(key, ticket, old, 0, None)
    assert cached.near.get(key) is MISSING


async def test_a_change_of_very_many_keys_at_once_drops_everything(cached):
    key = cached.key()
    before = await cached.kept(key)
    await cached.other.mset({cached.key(number): b"" for number in range(MANY + 1)})
    await cached.gone(key)
    assert cached.near.statistics().flushes == before.flushes + 1


async def test_what_is_no_caches_is_neither_told_of_nor_kept(cached):
    key = f"{cached.namespace}:notes:{{1}}"
    before = (await cached.kept(cached.key())).invalidations
    for number in range(10):
        await cached.other.set(key, number)
    await cached.other.set(cached.key("last"), b"")
    await until(lambda: cached.near.statistics().invalidations > before)
    assert cached.near.statistics().invalidations == before + 1
    assert cached.near.begin(key) is None


async def test_a_lost_connection_drops_all_and_what_was_on_its_way(each_server):
    async with FaultProxy(each_server.url) as proxy, caching(each_server, proxy.url) as cached:
        key = cached.key()
        await cached.kept(key)
        ticket = cached.near.begin(key)
        flushes = cached.near.statistics().flushes
        proxy.reset()
        await until(lambda: cached.near.statistics().flushes > flushes)
        assert cached.near.get(key) is MISSING
        await until(lambda: cached.near.statistics().tracked)
        cached.near.fill(key, ticket, b"old", 0, None)
        assert cached.near.get(key) is MISSING


async def test_the_next_connection_is_told_as_the_first_one_was(each_server):
    async with FaultProxy(each_server.url) as proxy, caching(each_server, proxy.url) as cached:
        for _ in range(2):
            key = cached.key()
            await cached.kept(key)
            await cached.other.set(key, b"new")
            await cached.gone(key)
            link = cached.link
            proxy.reset()
            await until(lambda link=link: cached.link not in (None, link))


async def test_a_dead_server_leaves_nothing_and_its_successor_is_followed(binary):
    async with Server(binary) as server, caching(server) as cached:
        key = cached.key()
        await cached.kept(key)
        await in_thread(server.kill)
        await cached.gone(key)
        assert cached.near.begin(key) is None
        await in_thread(server.start)
        await cached.other.connection_pool.disconnect()
        await cached.kept(key, b"new")


@asynccontextmanager
async def watched(url, clock, **parts):
    """A near cache watched over by a connection, by a clock to turn, without heartbeats of its own."""
    settings = settings_for(url, **parts)
    near = NearCache(100, 100_000, clock, monotonic=clock)
    tracking = Tracking(near, "", monotonic=clock)
    manager = ConnectionManager(settings.address, settings, clock=HybridClock(), observe=lambda _: None)
    manager.greet = tracking.follow
    await manager.start()
    try:
        near.fill("k", near.begin("k"), "v", 0, None)
        assert near.get("k") == "v"
        yield near, partial(tracking.beat, partial(round_trip, manager.send))
    finally:
        await manager.aclose()


async def test_silence_beyond_the_bound_ends_what_is_handed_out(each_server):
    clock = Clock()
    async with watched(each_server.url, clock) as (near, beat):
        clock.advance(SILENCE - 0.1)
        assert near.get("k") == "v"
        clock.advance(0.2)
        assert near.get("k") is MISSING
        assert near.begin("k") is None
        await beat()
        assert near.get("k") == "v"


async def test_an_answer_vouches_from_when_it_was_asked_for(each_server):
    clock = Clock()
    async with FaultProxy(each_server.url) as proxy, watched(proxy.url, clock) as (near, beat):
        proxy.delay(0.05)
        task = asyncio.create_task(beat())
        await asyncio.sleep(0)
        clock.advance(SILENCE - 0.1)
        await task
        assert near.get("k") == "v"
        clock.advance(0.2)
        assert near.get("k") is MISSING


async def test_a_heartbeat_that_is_not_answered_vouches_for_nothing(each_server):
    clock = Clock()
    async with FaultProxy(each_server.url) as proxy, watched(proxy.url, clock) as (near, beat):
        clock.advance(SILENCE - 0.1)
        proxy.hold()
        with pytest.raises(StoreUnavailable):
            await beat()
        assert near.get("k") is MISSING


def without_tracking(words):
    return b"-ERR unknown command 'CLIENT'\r\n" if words[:2] == [b"CLIENT", b"TRACKING"] else redis_like(words)


async def test_where_redis_does_not_tell_of_changes_entries_live_briefly():
    clock = Clock()
    async with Peer(without_tracking) as peer, watched(peer.url, clock) as (near, beat):
        assert not near.statistics().tracked
        clock.advance(0.9)
        assert near.get("k") == "v"
        clock.advance(0.2)
        assert near.get("k") is MISSING
        await beat()
        assert near.get("k") is MISSING


async def test_a_user_who_may_not_track_has_entries_that_live_briefly(binary):
    async with Server(binary) as server, Redis.from_url(server.url) as admin:
        await admin.execute_command("ACL", "SETUSER", "default", "-client|tracking")
        async with watched(server.url, Clock()) as (near, _):
            assert not near.statistics().tracked


async def test_the_heartbeat_of_a_state_keeps_its_entries_usable(valkey_server):
    async with caching(valkey_server) as cached:
        key = cached.key()
        await cached.kept(key)
        vouched = cached.near._until
        await until(lambda: cached.near._until > vouched)


async def test_without_a_redis_there_is_no_near_cache():
    async with PollyState() as state:
        assert state._stack.near is None
        assert state.statistics().near is None


async def test_it_can_be_switched_off(valkey_server):
    async with state_at(valkey_server.url, near=False) as state:
        assert state._stack.near is None
        assert state.statistics().near is None


async def test_the_bounds_are_those_of_the_settings(valkey_server):
    async with caching(valkey_server, bounds=Bounds(near_entries=3)) as cached:
        for number in range(10):
            await cached.kept(cached.key(number))
        assert cached.near.statistics().entries == 3


@pytest.mark.parametrize(
    ("near", "near_bytes", "most"), [(True, 100_000, 100_000), (True, 300_000, 50_000), (False, 100_000, 200_000)]
)
async def test_the_mirror_leaves_room_for_what_is_near(valkey_server, near, near_bytes, most):
    bounds = Bounds(local_bytes=200_000, near_bytes=near_bytes)
    async with state_at(valkey_server.url, namespace=secrets.token_hex(4), bounds=bounds, near=near) as state:
        await filled(state, most)


async def test_where_nothing_is_near_the_local_store_has_all_the_room():
    async with PollyState(Settings(bounds=Bounds(local_bytes=200_000, near_bytes=100_000))) as state:
        await filled(state, 200_000)


async def filled(state, most):
    """See that so many bytes, and no more, are held of what may be dropped."""
    cache = state.cache.family("t", str, ttl=60)
    await cache.set_many(dict.fromkeys(range(300), "x" * 400))
    assert most * 0.9 < state.statistics().local_bytes <= most


def test_the_environment_sets_switch_and_bounds():
    found = Settings.from_env(
        {"POLLY_STATE_NEAR": "no", "POLLY_STATE_NEAR_ENTRIES": "7", "POLLY_STATE_NEAR_BYTES": "8"}
    )
    assert (found.near, found.bounds.near_entries, found.bounds.near_bytes) == (False, 7, 8)
    with pytest.raises(ConfigurationError, match="POLLY_STATE_NEAR_BYTES"):
        Settings.from_env({"POLLY_STATE_NEAR_BYTES": "-1"})


def test_the_age_of_a_hit_is_counted_from_the_next_acknowledged_version():
    outcome = Outcome([Write("k", 1, 1.0), Write("k", 2, 2.0), Write("k", 5, 3.0)])
    outcome.hits = [Hit("k", 1, 1.5), Hit("k", 1, 2.5), Hit("k", 2, 4.0), Hit("k", 5, 9.0), Hit("k", 6, 9.0)]
    assert ages(outcome) == [0.0, 0.5, 1.0, 0.0, 0.0]


@pytest.mark.blocking
async def test_nobody_is_handed_an_old_value_while_connected(server):
    outcome = await observed("connected", server.url, 1.0)
    assert outcome.near > 100
    found = ages(outcome)
    # Every key is written four times in this second; how old is for the benchmark to tell.
    assert sum(age > 0 for age in found) < len(found) / 20
    assert max(found) < SILENCE


@pytest.mark.parametrize("writes", [Set, Delete])
async def test_a_reader_that_asks_after_the_acknowledgement_and_a_round_trip_gets_the_new_value(cached, writes):
    key = cached.key()
    for number in range(30):
        await cached.kept(key, b"%d" % number)
        new = b"%d" % (number + 1)
        await (cached.other.set(key, new) if writes is Set else cached.other.delete(key))
        # A round trip on the connection that is told: what was told before the answer is in by then.
        await cached.execute(Get(cached.key("other")))
        await asyncio.sleep(0)
        assert await cached.read(key) == (new if writes is Set else None)
