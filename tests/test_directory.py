"""A directory: what was acknowledged outlives the process, and the processes of a host know of each other's writes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap

import pytest

from polly_state import Ack, Address, ConfigurationError, Lifetime, Mode, Origin, PollyState, Settings
from polly_state.commands import DropEntry, Get, PutEntry, SetRegister
from polly_state.keyspace import Keyspace
from polly_state.stamps import HybridClock
from polly_state.store import LocalStore
from polly_state.store.journal import TOLD_FOR
from polly_state.store.overlay import Overlay
from polly_state.store.sqlite_journal import SqliteJournal
from polly_state.testing import Clock, FaultProxy, Server
from tests.outages import QUICK, in_thread, state_at, until

pytestmark = pytest.mark.blocking

COUNT = 1000


def alone(directory, **parts):
    return PollyState(Settings(directory=directory, **parts), observers=())


async def test_without_a_redis_the_directory_is_the_store(tmp_path):
    async with alone(tmp_path / "s") as state:
        assert state.mode is Mode.EMBEDDED
        assert await state.map("m", int).set("a", 1, require=Ack.LOCAL_DURABLE) is Ack.LOCAL_DURABLE
        assert await state.fields("f", bool).toggle("u", "on") is True
        assert await state.counters("c").add("x", 3) == 3
    async with alone(tmp_path / "s") as state:
        assert await state.map("m", int).read("a") == (1, Origin.LOCAL, 0.0)
        assert await state.fields("f", bool).toggle("u", "on") is False
        assert await state.counters("c").add("x", -1) == 2


async def test_processes_share_a_directory_without_a_redis(tmp_path):
    async with alone(tmp_path / "s") as one, alone(tmp_path / "s") as two:
        for number in range(20):
            writer, reader = (one, two) if number % 2 else (two, one)
            await writer.map("m", int).set("a", number)
            assert await reader.map("m", int).get("a") == number
            assert await writer.counters("c").add("x") == number + 1
            assert await writer.fields("f", bool).toggle("u", "on") is (number % 2 == 0)


async def test_two_processes_at_once_lose_no_addition(tmp_path):
    script = """
        import asyncio, sys
        from polly_state import PollyState

        async def main():
            environ = {"POLLY_STATE_DIR": sys.argv[1], "USE_REDIS": "false", "POLLY_STATE_DEADLINE": "10"}
            async with PollyState.from_env(environ) as state:
                for _ in range(300):
                    await state.counters("c").add("x")
                    await state.fields("f", bool).toggle("u", "on")

        asyncio.run(main())
    """
    words = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "s")]
    workers = [await asyncio.create_subprocess_exec(*words) for _ in range(3)]
    assert [await worker.wait() for worker in workers] == [0, 0, 0]
    async with alone(tmp_path / "s") as state:
        assert await state.counters("c").value("x") == 900
        assert await state.fields("f", bool).get("u", "on") is False


async def test_the_url_of_a_directory_is_that_directory(tmp_path):
    async with PollyState(Settings.from_url(f"sqlite://{tmp_path}/s"), observers=()) as state:
        assert await state.map("m", int).set("a", 1) is Ack.LOCAL_DURABLE
    assert (tmp_path / "s" / "polly.sqlite3").exists()


async def test_what_was_kept_without_a_redis_goes_to_the_redis_that_comes(tmp_path, server, namespace):
    async with alone(tmp_path / "s", namespace=namespace) as state:
        await state.map("m", int).set("a", 1)
        await state.counters("c").add("x", 3)
    async with state_at(server.url, namespace=namespace, directory=tmp_path / "s") as state:
        await until(lambda: state.mode is Mode.CONNECTED)
    async with state_at(server.url, namespace=namespace) as state:
        assert await state.map("m", int).read("a") == (1, Origin.REDIS, 0.0)
        assert await state.counters("c").value("x") == 3


async def test_processes_see_each_others_kept_writes(tmp_path, server, namespace):
    parts = {"namespace": namespace, "directory": tmp_path / "s", "breaker": QUICK}
    async with (
        FaultProxy(server.url) as proxy,
        state_at(proxy.url, **parts) as one,
        state_at(proxy.url, **parts) as two,
    ):
        proxy.refuse()
        proxy.reset()
        await until(lambda: one.mode is two.mode is Mode.DEGRADED)
        assert await one.map("m", int).set("a", 1) is Ack.LOCAL_DURABLE
        assert (await two.map("m", int).read("a"))[:2] == (1, Origin.JOURNAL)
        proxy.heal()
        await until(lambda: one.mode is two.mode is Mode.CONNECTED)
        assert await two.map("m", int).read("a") == (1, Origin.REDIS, 0.0)
        assert one.health().pending == two.health().pending == 0


async def test_a_thousand_kept_writes_survive_a_kill_and_count_once(tmp_path, binary):
    script = f"""
        import asyncio, sys
        from pathlib import Path
        from polly_state import Ack, Address, PollyState, Settings

        async def main():
            settings = Settings(address=Address.parse(sys.argv[1]), directory=Path(sys.argv[2]))
            async with PollyState(settings, observers=()) as state:
                await state.counters("c").value("x")
                print("ready", flush=True)
                await asyncio.to_thread(sys.stdin.readline)
                for number in range({COUNT}):
                    assert await state.map("m", int).set(number, number) is Ack.LOCAL_DURABLE
                    await state.counters("c").add("x")
                print("acked", flush=True)
                await asyncio.sleep(60)

        asyncio.run(main())
    """
    async with Server(binary) as server:
        words = [sys.executable, "-c", textwrap.dedent(script), server.url, str(tmp_path / "s")]
        worker = await asyncio.create_subprocess_exec(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert await worker.stdout.readline() == b"ready\n"
        await in_thread(server.kill)
        worker.stdin.write(b"go\n")
        assert await worker.stdout.readline() == b"acked\n"
        worker.kill()
        await worker.wait()
        await in_thread(server.start)
        async with state_at(server.url, directory=tmp_path / "s") as state:
            await until(lambda: state.mode is Mode.CONNECTED)
        async with state_at(server.url) as fresh:
            found = await fresh.map("m", int).get_many(range(COUNT))
            assert found == {number: number for number in range(COUNT)}
            assert await fresh.counters("c").value("x") == COUNT


async def test_a_directory_that_cannot_be_used_is_an_error_at_the_start(tmp_path, server):
    tmp_path.chmod(0o777)
    for settings in (
        Settings(directory=tmp_path),
        Settings(address=Address.parse(server.url), directory=tmp_path),
    ):
        with pytest.raises(ConfigurationError, match="POLLY_STATE_DIR"):
            async with PollyState(settings, observers=()):
                pass
    assert list(tmp_path.iterdir()) == []


async def test_a_purge_leaves_nothing_in_the_directory(tmp_path):
    async with alone(tmp_path / "s") as state:
        await state.map("m", int).set("a", 1)
        await state.purge()
        assert await state.map("m", int).get("a") is None
    async with alone(tmp_path / "s") as state:
        assert await state.map("m", int).get("a") is None


def cached(state, lifetime=Lifetime(ttl=600, stale=0.0)):  # noqa: B008 - it is frozen
    return state.cache.family("own", int, lifetime=lifetime)


async def test_without_a_redis_what_is_dropped_or_set_in_a_cache_is_so_for_all_processes(tmp_path):
    async with alone(tmp_path / "s") as one, alone(tmp_path / "s") as two:
        mine, theirs = cached(one), cached(two)
        for number in range(10):
            await theirs.set(1, number)
            await theirs.set(2, number)
            assert await mine.get_or_load(1, loader(-number)) == -number
            assert await theirs.get(1) == number, "a load is for who loads"
            await mine.delete_many([1, 2])
            assert await theirs.get_many([1, 2]) == {}
            await theirs.set(1, number)
            await mine.set(1, -number)
            assert await theirs.get(1) is None
            assert await mine.get(1) == -number


def loader(value, gate=None):
    async def load(_):
        if gate is not None:
            await gate.wait()
        return value

    return load


async def test_nor_is_kept_there_what_is_loaded_meanwhile(tmp_path):
    async with alone(tmp_path / "s") as one, alone(tmp_path / "s") as two:
        gate = asyncio.Event()
        late = asyncio.create_task(cached(two).get_or_load(1, loader(1, gate)))
        await until(lambda: two.cache.health().loading)
        await cached(one).delete(1)
        gate.set()
        assert await late == 1
        assert await cached(two).get(1) is None


async def test_what_is_only_told_does_not_pile_up(tmp_path):
    async with alone(tmp_path / "s") as state:
        await cached(state).set_many(dict.fromkeys(range(100), 1))
        await state.map("m", int).set("a", 1)
        journal = state._started()._overlay.journal
        assert journal.statistics().entries == 101
        journal.upkeep(state._store.clock.now() + TOLD_FOR / 2)
        assert journal.statistics().entries == 101
        journal.upkeep(state._store.clock.now() + TOLD_FOR + 1)
        assert journal.statistics().entries == 1


@pytest.mark.parametrize("writes", [False, True])
async def test_a_process_that_was_stopped_for_long_gives_nothing_of_before(tmp_path, writes):
    overlay = Overlay(Keyspace(), SqliteJournal(tmp_path / "j", max_entries=9, max_bytes=9999), HybridClock(), 1.0)
    time = Clock()
    store = LocalStore(overlay.keyspace, HybridClock(wall=time, monotonic=time), overlay)
    await store.execute(PutEntry("n:cache.f:{a}", b"1", None))
    await store.execute(SetRegister("n:m:{a}", store.clock.stamp(), b"1"))
    other = SqliteJournal(tmp_path / "j", max_entries=9, max_bytes=9999)
    for seconds, left in ((TOLD_FOR / 3, b"1"), (TOLD_FOR, None)):
        time.advance(seconds)
        with other.writing():
            other.record([SetRegister("n:m:{b}", store.clock.stamp(), b"2")], time())
        if writes:
            # Which takes in what others have written.
            await store.execute(SetRegister("n:m:{c}", store.clock.stamp(), b"3"))
        assert (await store.execute(Get("n:cache.f:{a}"))).value == left
        assert (await store.execute(Get("n:m:{a}"))).value == b"1"
    for each in (other, overlay.journal):
        each.close()


async def test_what_is_told_is_no_news_for_who_tells_it(tmp_path):
    overlay = Overlay(Keyspace(), SqliteJournal(tmp_path / "j", max_entries=9, max_bytes=9999), HybridClock(), 1.0)
    store = LocalStore(overlay.keyspace, overlay._clock, overlay)
    other = SqliteJournal(tmp_path / "j", max_entries=9, max_bytes=9999)
    await store.execute(PutEntry("n:cache.f:{a}", b"1", None))
    with other.writing():
        other.record([DropEntry("n:cache.f:{b}")], 1.0)
    await overlay.tell([DropEntry("n:cache.f:{a}")])
    assert (await store.execute(Get("n:cache.f:{a}"))).value == b"1"
    for each in (other, overlay.journal):
        each.close()


async def test_what_others_have_kept_for_redis_is_near_nobody(tmp_path, server, namespace):
    async with (
        FaultProxy(server.url) as proxy,
        state_at(proxy.url, directory=tmp_path, namespace=namespace, breaker=QUICK) as cut,
        state_at(server.url, directory=tmp_path, namespace=namespace) as state,
    ):
        cache = cached(state)
        for invalidate in (lambda: cached(cut).delete(1), lambda: cached(cut).invalidate()):
            await cache.set(1, 5)
            while (await cache.read(1)).origin is not Origin.NEAR:
                await asyncio.sleep(0.001)
            proxy.refuse()
            proxy.reset()
            await until(lambda: cut.mode is Mode.DEGRADED)
            await invalidate()
            # Which is sent by either, but known at once.
            state._started()._resilient.look()
            assert await cache.get(1) is None
            proxy.heal()
            await until(lambda: cut.mode is Mode.CONNECTED and state.mode is Mode.CONNECTED)
