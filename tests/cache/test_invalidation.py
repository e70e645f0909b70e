"""What is invalidated is never given again: not by a slow loader, not after an outage, not in whatever order."""

from __future__ import annotations

import asyncio
import random
import secrets

import pytest

from polly_state import BreakerSettings, LocalStoreFull, Mode, PollyState, Settings
from polly_state.commands import DropEntry, EndLoad, PutEntry
from polly_state.lifetime import Lifetime
from polly_state.store.channels import Channels, Topic
from polly_state.testing import FaultProxy, Server
from tests.cache.caches import Source, Virtual
from tests.outages import in_thread, settings_for, state_at, until

LASTING = Lifetime(ttl=1000.0, hard_timeout=30.0)


@pytest.fixture
async def virtual():
    virtual = Virtual()
    yield virtual
    await virtual.service.aclose()


async def test_a_family_a_tag_and_everything(virtual):
    service = virtual.service
    one, other = (service.family(name, int, ttl=60) for name in ("one", "other"))

    async def fill():
        await one.set(1, 1, tags=["guild:1", "user:2"])
        await one.set(2, 2)
        await other.set(1, 3, tags=["user:2", "odd tag/=%"])

    async def left():
        return [await one.get(1), await one.get(2), await other.get(1)]

    for invalidate, expected in (
        (one.invalidate, [None, None, 3]),
        (lambda: service.invalidate_tag("guild:1"), [None, 2, 3]),
        (lambda: service.invalidate_tag("user:2"), [None, 2, None]),
        (lambda: service.invalidate_tag("odd tag/=%"), [1, 2, None]),
        (service.invalidate_all, [None, None, None]),
    ):
        await fill()
        assert await left() == [1, 2, 3]
        await invalidate()
        assert expected == await left()


@pytest.mark.parametrize(
    ("group", "tiers"),
    [
        ("user", ["user_preferences", "user_guilds", "user_statistics", "discord_users"]),
        ("guild", ["guilds", "guild_channels", "guild_roles", "guild_emojis"]),
        ("poll", ["poll_results", "poll_dashboards"]),
    ],
)
async def test_a_user_a_guild_and_a_poll(virtual, group, tiers):
    service = virtual.service
    for tier in tiers:
        await getattr(service, tier).set_many({7: "x", 8: "y"})
    tagged = virtual.family(int)
    await tagged.set(1, 1, tags=[f"{group}:7"])
    await getattr(service, f"invalidate_{group}")(7)
    assert await tagged.get(1) is None
    for tier in tiers:
        assert await getattr(service, tier).get_many([7, 8]) == {8: "y"}


async def test_a_part_that_fails_keeps_none_of_the_others_from_being_done(virtual):
    service = virtual.service
    await service.guild_emojis.set(7, "x")

    async def refused(_):
        raise LocalStoreFull("no room")

    delete = service.guild_emojis.delete

    async def slow(id):
        await asyncio.sleep(0.005)
        return await delete(id)

    service.guilds.delete, service.guild_emojis.delete = refused, slow
    with pytest.raises(LocalStoreFull):
        await service.invalidate_guild(7)
    assert len(asyncio.all_tasks()) == 1
    assert await service.guild_emojis.get(7) is None


async def test_another_process_sees_it_at_once(server):
    name = secrets.token_hex(4)
    async with state_at(server.url, namespace=name) as here, state_at(server.url, namespace=name) as there:
        mine, theirs = (state.cache.family("own", int, ttl=60) for state in (here, there))
        for invalidate in (mine.invalidate, here.cache.invalidate_all, lambda: here.cache.invalidate_tag("t")):
            await theirs.set(1, 5, tags=["t"])
            assert await mine.get(1) == 5
            await invalidate()
            assert await theirs.get(1) is None


async def test_who_asks_after_an_invalidation_does_not_get_an_older_load(virtual):
    cache = virtual.family(int, LASTING)
    for invalidate in (lambda: cache.delete(1), cache.invalidate, virtual.service.invalidate_all):
        await cache.delete(1)
        old = asyncio.create_task(cache.get_or_load(1, Source("old", takes=0.01)))
        await until(lambda: virtual.service.health().loading)
        await invalidate()
        assert await cache.get_or_load(1, Source(2)) == 2
        await asyncio.gather(old, return_exceptions=True)
        assert await cache.get(1) == 2


async def test_nor_waits_for_it(virtual):
    cache = virtual.family(int, Lifetime(ttl=10, hard_timeout=1.0))
    old = asyncio.create_task(cache.get_or_load(1, Source(1, takes=3600)))
    await until(lambda: virtual.service.health().loading)
    await cache.delete(1)
    assert await cache.get_or_load(1, Source(2)) == 2
    old.cancel()


async def test_nor_when_another_process_has_invalidated(virtual):
    cache, other = virtual.family(int, LASTING), virtual.process()
    old = asyncio.create_task(cache.get_or_load(1, Source(1, takes=0.02)))
    await until(lambda: virtual.service.health().loading)
    await other.family("family", int, lifetime=LASTING).delete(1)
    assert await cache.get_or_load(1, Source(2)) == 2
    assert await old == 1
    await other.aclose()


@pytest.mark.parametrize("seconds", [-120.0, 120.0])
async def test_no_clock_helps_a_late_loader(seconds):
    # The clock of the one who invalidates is that much off.
    virtual = Virtual()
    other = virtual.process()
    cache = virtual.family(int, LASTING)
    late = asyncio.create_task(cache.get_or_load(1, Source(1, takes=0.01)))
    await until(lambda: virtual.service.health().loading)
    virtual.bench.store.clock._offset += seconds
    await other.family("family", int, lifetime=LASTING).invalidate()
    virtual.bench.store.clock._offset -= seconds
    await late
    assert await cache.get(1) is None
    for service in (virtual.service, other):
        await service.aclose()


class Scheduled:
    """A store on which every command takes a random number of turns, before and after; ends of loads are told."""

    def __init__(self, store, choice):
        self.clock = store.clock
        self.tell = []
        self._store = store
        self._choice = choice

    async def execute(self, command, *args):
        await self.turns()
        answer = await self._store.execute(command, *args)
        if isinstance(command, (EndLoad, PutEntry, DropEntry)):
            for channels in self.tell:
                channels.tell(Topic(command.key))
        await self.turns()
        return answer

    async def execute_many(self, commands):
        return await asyncio.gather(*map(self.execute, commands))

    async def turns(self, most=5):
        for _ in range(self._choice(range(most + 1))):
            await asyncio.sleep(0)


class Schedule:
    """One key, a source that changes, and two processes that load, set and invalidate at random."""

    def __init__(self, store, services, number, choice):
        self.store = store
        self.services = services
        self.id = number
        self.choice = choice
        self.version = 0
        self.changing = 0
        self.stale = []

    def family(self):
        return self.choice(self.services).family("family", int, lifetime=LASTING)

    async def load(self, _):
        version = self.version
        await self.store.turns(60)
        return version

    async def load_many(self, ids):
        return dict.fromkeys(ids, await self.load(None))

    async def read(self):
        await self.store.turns(120)
        known = self.version if not self.changing else None
        family = self.family()
        if self.choice((True, False)):
            found = await family.get_or_load(self.id, self.load, tags=["tag"])
        else:
            found = (await family.get_or_load_many([self.id], self.load_many, tags=["tag"]))[self.id]
        if known is not None and found < known:
            self.stale.append((found, known))

    async def change(self):
        # A read takes some 50 turns: a change may come at any of them.
        await self.store.turns(60)
        self.changing += 1
        self.version += 1
        service, family = self.choice(self.services), self.family()
        await self.choice(
            (
                lambda: family.delete(self.id),
                family.invalidate,
                lambda: service.invalidate_tag("tag"),
                service.invalidate_all,
            )
        )()
        self.changing -= 1

    async def run(self):
        jobs = [self.read] * self.choice((1, 2, 4)) + [self.change] * self.choice((1, 1, 2))
        await asyncio.gather(*(job() for job in jobs))
        found = [await self.family().get(self.id) for _ in range(2)]
        # What is left is of the last version, or nothing.
        self.stale += [(each, self.version) for each in found if each not in (None, self.version)]
        return self.stale


async def schedules(count, seed):
    choice = random.Random(seed).choice
    virtual = Virtual()
    store = Scheduled(virtual.bench.store, choice)
    virtual.bench.store = store
    services = [virtual.process() for _ in range(2)]
    for service in services:
        store.tell.append(channels := Channels())
        service.open(channels)
    stale = []
    for number in range(count):
        stale += await Schedule(store, services, number, choice).run()
    for service in services:
        await service.aclose()
    return stale


@pytest.mark.parametrize("seed", range(2))
async def test_a_late_loader_never_wins(seed):
    assert await schedules(700, seed) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
async def test_a_late_loader_never_wins_in_10_000_schedules(seed):
    assert await schedules(1000, seed + 100) == []


async def test_a_tag_goes_in_one_write(server):
    settings = settings_for(server.url, namespace=secrets.token_hex(4))
    async with PollyState(settings, observers=()) as state:
        cache = state.cache.family("own", int, ttl=60)
        await cache.set_many({number: number for number in range(1000)}, tags=["t"])
        assert len(await cache.get_many(range(1000))) == 1000
        before = state.statistics().connection.commands
        await state.cache.invalidate_tag("t")
        # A write is one command, or three before its script is known.
        assert state.statistics().connection.commands - before <= 3
        assert await cache.get_many(range(1000)) == {}


QUICK = BreakerSettings(probe_delay=0.02, probe_delay_cap=0.1)


@pytest.fixture
async def own(binary):
    async with Server(binary, appendonly=True, arguments=["--appendfsync", "always"]) as server:
        yield server


async def test_a18_what_was_invalidated_in_an_outage_is_gone_afterwards(own):
    closed = Lifetime(ttl=7 * 86_400)
    async with state_at(own.url, breaker=QUICK) as state, state_at(own.url, breaker=QUICK) as other:
        families = {name: state.cache.family(name, str, lifetime=closed) for name in ("key", "family", "tag")}
        theirs = {name: other.cache.family(name, str, lifetime=closed) for name in families}
        for cache in families.values():
            await cache.set(1, "closed", tags=["poll:1"] if cache.name == "tag" else [])
            assert await theirs[cache.name].get(1) == "closed"
        await in_thread(own.kill)
        await until(lambda: state.mode is Mode.DEGRADED)
        assert await families["key"].get(1) == "closed"
        await families["key"].delete(1)
        await families["family"].invalidate()
        await state.cache.invalidate_tag("poll:1")
        assert [await cache.get(1) for cache in families.values()] == [None] * 3
        await in_thread(own.restart)
        await until(lambda: state.mode is Mode.CONNECTED and other.mode is Mode.CONNECTED)
        for caches in (families, theirs):
            assert [await cache.get(1) for cache in caches.values()] == [None] * 3
        assert await theirs["tag"].get_or_load(1, Source("open")) == "open"
        assert await families["tag"].get(1) == "open"


async def test_what_is_loaded_in_an_outage_is_kept_here_and_dropped_afterwards(own):
    async with state_at(own.url, breaker=QUICK) as state:
        cache, source = state.cache.family("own", int, ttl=60), Source(5)
        assert await cache.get(1) is None
        await in_thread(own.kill)
        await until(lambda: state.mode is Mode.DEGRADED)
        assert [await cache.get_or_load(1, source) for _ in range(2)] == [5, 5]
        assert source.loads == 1
        await in_thread(own.restart)
        await until(lambda: state.mode is Mode.CONNECTED)
        assert await cache.get(1) is None


async def test_a_start_without_redis_caches_as_well(binary):
    async with state_at(Server(binary).url, breaker=QUICK) as state:
        cache, source = state.cache.family("own", int, ttl=60), Source(5)
        assert [await cache.get_or_load(1, source, tags=["t"]) for _ in range(2)] == [5, 5]
        assert source.loads == 1
        await state.cache.invalidate_tag("t")
        assert await cache.get_or_load(1, Source(6), tags=["t"]) == 6
        await cache.invalidate()
        assert await cache.get(1) is None


async def test_a_load_that_outlasts_an_outage_with_an_invalidation_stores_nothing(own):
    async with FaultProxy(own.url) as proxy, state_at(proxy.url, breaker=QUICK) as state:
        cache, source = state.cache.family("own", int, lifetime=LASTING), Source(1, takes=0.5)
        late = asyncio.create_task(cache.get_or_load(1, source))
        await until(lambda: source.loads)
        await in_thread(own.kill)
        await until(lambda: state.mode is Mode.DEGRADED)
        await cache.delete(1)
        await in_thread(own.restart)
        await until(lambda: state.mode is Mode.CONNECTED)
        assert await late == 1
        assert await cache.get(1) is None


async def test_a_tag_is_one_entry_however_many_carry_it(virtual):
    cache = virtual.family(int, LASTING)
    await cache.set_many({number: number for number in range(100)}, tags=["t"])
    size = len(virtual.bench.keyspace)
    await virtual.service.invalidate_tag("t")
    assert len(virtual.bench.keyspace) - size == 1


@pytest.mark.parametrize("url", [None, "away"])
async def test_who_asks_in_the_turn_of_an_invalidation_shares_nothing_read_before_it(binary, url):
    # Without Redis nothing takes a turn of the event loop.
    settings = Settings() if url is None else settings_for(Server(binary).url, breaker=QUICK)
    async with PollyState(settings, observers=()) as state:
        cache = state.cache.family("own", int, ttl=60)
        for invalidate in (cache.invalidate, state.cache.invalidate_all):
            await cache.set(1, 5)

            async def after(invalidate=invalidate):
                await invalidate()
                return await cache.get(1)

            assert await asyncio.gather(cache.get(2), after()) == [None, None]


async def test_who_waits_for_a_tag_when_all_is_closed_is_not_cancelled(server):
    async with FaultProxy(server.url) as proxy:
        state = PollyState(settings_for(proxy.url, namespace=secrets.token_hex(4)), observers=())
        await state.start()
        proxy.hold()
        asking = asyncio.create_task(state.cache._shared.markers.valid(b"- - t=x", b"- -"))
        await asyncio.sleep(0.01)
        await state.cache.aclose()
        with pytest.raises(RuntimeError, match="closed"):
            await asking
        proxy.heal()
        await state.aclose()
