"""Watch: the value now and each newer one, whoever writes it and however, over outages too."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager

import pytest

from polly_state import BreakerSettings, CorruptValue, Mode, PollyState, Settings
from polly_state.store.channels import Topic
from polly_state.structures import watch
from polly_state.testing import FaultProxy, Server
from tests.outages import later, state_at, until
from tests.services.conftest import anywhere, everywhere  # noqa: F401
from tests.testing.wire import ask

QUICK = BreakerSettings(probe_delay=0.02, probe_delay_cap=0.05)


@pytest.fixture
def namespace():
    return f"watch-{secrets.token_hex(4)}"


@pytest.fixture
def patient(monkeypatch):
    """Nobody looks of their own accord."""
    monkeypatch.setattr(watch, "DEAF", 1000.0)


@asynccontextmanager
async def watching(changes):
    """The values that someone sees."""
    seen = []

    async def look():
        async for value in changes:
            seen.append(value)  # noqa: PERF401 - they come one by one

    task = asyncio.create_task(look())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.usefixtures("patient")
async def test_every_kind_of_change_is_seen(anywhere):  # noqa: F811
    values = anywhere.map("v", int)
    async with watching(values.watch("a")) as seen, watching(values.watch("b")) as nothing:
        await until(lambda: seen == nothing == [None])
        changes = (
            (lambda: values.set("a", 1), 1),
            (lambda: values.set("a", 2), 2),
            (lambda: values.swap("a", 2, 3), 3),
            (lambda: values.update("a", 4), 4),
            (lambda: values.delete("a"), None),
            (lambda: values.create("a", 5), 5),
            (lambda: values.take("a"), None),
            (lambda: values.set("a", 6, ttl=0.05), 6),
        )
        expected = [None]
        for change, value in changes:
            await change()
            expected.append(value)
            await until(lambda: seen == expected)
        # It ends by itself.
        await until(lambda: seen == [*expected, None])
        assert nothing == [None]
    assert anywhere._channels.topics == set()


@pytest.mark.usefixtures("patient")
async def test_fields_are_seen_together(anywhere):  # noqa: F811
    fields = anywhere.fields("f", int)
    async with watching(fields.watch("a")) as seen:
        await until(lambda: seen == [{}])
        await fields.patch("a", {"x": 1, "y": 2})
        await until(lambda: seen[1:] == [{"x": 1, "y": 2}])
        await fields.delete("a", "x")
        await until(lambda: seen[2:] == [{"y": 2}])


async def test_it_begins_with_what_is_there_and_the_same_is_not_seen_twice(anywhere):  # noqa: F811
    values = anywhere.map("v", int)
    await values.set("a", 1)
    async with watching(values.watch("a")) as seen:
        await until(lambda: seen == [1])
        await values.set("a", 1)
        await values.set("a", 2)
        await until(lambda: seen == [1, 2])


@pytest.mark.usefixtures("patient")
async def test_a_slow_watcher_sees_the_last(server, namespace):
    async with state_at(server.url, namespace=namespace) as here, state_at(server.url, namespace=namespace) as there:
        changes = here.map("v", int).watch("a")
        assert await anext(changes) is None
        for number in range(200):
            await there.map("v", int).set("a", number)
        seen = [await anext(changes)]
        while seen[-1] != 199:
            seen.append(await asyncio.wait_for(anext(changes), 10))
        assert seen == sorted(seen)
        await changes.aclose()


@pytest.mark.usefixtures("patient")
async def test_whatever_others_do_to_a_key_is_seen(binary, namespace):
    async with Server(binary) as server, state_at(server.url, namespace=namespace) as state:
        values = state.map("v", int)
        key = values._key("a")
        async with watching(values.watch("a")) as seen:
            await until(lambda: state._channels.hears(Topic(key, key=True)))
            for number, change in enumerate((f"SET {key} 1", f"INCR {key}", "FLUSHALL", f"SET {key} 3 PX 50"), 2):
                ask(server.url, change)
                await until(lambda: len(seen) >= number)  # noqa: B023
            await until(lambda: seen == [None, 1, 2, None, 3, None])
        changes = values.watch("a")
        ask(server.url, f"SET {key} text")
        with pytest.raises(CorruptValue):
            await anext(changes)


@pytest.mark.usefixtures("patient")
async def test_what_changed_while_redis_was_away_is_seen_after(server, namespace):
    async with (
        FaultProxy(server.url) as proxy,
        state_at(proxy.url, namespace=namespace, breaker=QUICK) as state,
        state_at(server.url, namespace=namespace) as other,
    ):
        mine, theirs = state.map("v", int), other.map("v", int)
        await theirs.set("a", 1)
        async with watching(mine.watch("a")) as seen, watching(mine.watch("b")) as own:
            await until(lambda: seen == [1] and own == [None])
            await until(lambda: all(map(state._channels.hears, state._channels.topics)))
            proxy.refuse()
            proxy.reset()
            await until(lambda: state.mode is Mode.DEGRADED)
            await theirs.set("a", 2)
            await mine.set("b", 1)
            await until(lambda: own == [None, 1])
            proxy.heal()
            await until(lambda: seen == [1, 2])
            await until(lambda: state.mode is Mode.CONNECTED)
            await theirs.set("b", 3)
            await until(lambda: own == [None, 1, 3])


@pytest.mark.usefixtures("patient")
async def test_what_redis_had_already_when_it_took_writes_again_is_seen(binary, namespace):
    slow = BreakerSettings(probe_delay=1.0, probe_delay_cap=1.0)
    async with (
        Server(binary) as server,
        state_at(server.url, namespace=namespace, breaker=slow) as state,
        state_at(server.url, namespace=namespace, breaker=QUICK) as other,
    ):
        mine, theirs = state.map("v", int), other.map("v", int)
        async with watching(mine.watch("a")) as seen:
            await until(lambda: seen == [None] and all(map(state._channels.hears, state._channels.topics)))
            ask(server.url, "CONFIG SET maxmemory-policy noeviction", "CONFIG SET maxmemory 1")
            await mine.set("a", 1)
            await later(other, than=state)
            await theirs.set("a", 2)
            await until(lambda: seen == [None, 1])
            ask(server.url, "CONFIG SET maxmemory 0")
            # The newer one is there first, while what was written here still waits.
            await until(lambda: other.mode is Mode.CONNECTED)
            await until(lambda: state.mode is Mode.CONNECTED)
            await until(lambda: seen == [None, 1, 2])


async def test_what_nobody_knows_is_not_given(binary, namespace):
    async with Server(binary) as server:
        ask(server.url, f"SET {namespace}:v:{{a}} 1")
        async with FaultProxy(server.url) as proxy:
            proxy.refuse()
            async with (
                state_at(proxy.url, namespace=namespace, breaker=QUICK) as state,
                watching(state.map("v", int).watch("a")) as seen,
            ):
                await asyncio.sleep(0.1)
                assert seen == []
                proxy.heal()
                await until(lambda: seen == [1])


async def test_where_redis_does_not_tell_it_is_looked_at(binary, namespace, monkeypatch):
    monkeypatch.setattr(watch, "DEAF", 0.05)
    async with Server(binary) as server:
        ask(server.url, "ACL SETUSER shy on >secret ~* &* +@all -client|tracking")
        async with (
            state_at(server.url.replace("://", "://shy:secret@"), namespace=namespace) as state,
            watching(state.map("v", int).watch("a")) as seen,
        ):
            await until(lambda: seen == [None])
            ask(server.url, f"SET {namespace}:v:{{a}} 1")
            await until(lambda: seen == [None, 1])


async def test_where_redis_stops_telling_it_is_looked_at(binary, namespace, monkeypatch):
    monkeypatch.setattr(watch, "DEAF", 0.05)
    async with Server(binary) as server:
        ask(server.url, "ACL SETUSER shy on >secret ~* &* +@all")
        async with (
            state_at(server.url.replace("://", "://shy:secret@"), namespace=namespace) as state,
            watching(state.map("v", int).watch("a")) as seen,
        ):
            await until(lambda: seen == [None] and all(map(state._channels.hears, state._channels.topics)))
            ask(server.url, "ACL SETUSER shy -exists")
            for value in (1, 2):
                ask(server.url, f"SET {namespace}:v:{{a}} {value}")
                await until(lambda: seen[-1] == value)  # noqa: B023


@pytest.mark.blocking
@pytest.mark.usefixtures("patient")
async def test_processes_over_a_directory_see_each_others_changes(tmp_path):
    settings = Settings(directory=tmp_path / "state")
    async with (
        PollyState(settings) as state,
        PollyState(settings) as other,
        watching(state.map("v", int).watch("a")) as seen,
    ):
        await until(lambda: seen == [None])
        await other.map("v", int).set("a", 1)
        await until(lambda: seen == [None, 1])
        await state.purge()
        await until(lambda: seen == [None, 1, None])
