"""One load for many processes, also when the one that loads is killed."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from polly_state import BreakerSettings, Mode
from polly_state.commands import EndLoad
from polly_state.store.channels import Topic
from polly_state.testing import Server
from tests.cache.caches import Source
from tests.outages import PATIENCE, in_thread, state_at, until
from tests.testing.wire import ask

WORKER = Path(__file__).with_name("worker.py")
ROOT = Path(__file__).parents[2]


class Worker:
    def __init__(self, process):
        self._process = process

    async def heard(self):
        async with asyncio.timeout(PATIENCE):
            return json.loads(await self._process.stdout.readline())

    async def last(self):
        while not isinstance(said := await self.heard(), dict):
            pass
        return said

    def begin(self):
        self._process.stdin.write(b"go\n")

    def kill(self):
        self._process.kill()


@asynccontextmanager
async def worker(url, namespace, callers, takes, liveness):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *map(str, (WORKER, url, namespace, callers, takes, liveness)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield Worker(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_1000_callers_in_4_processes_load_once(server):
    namespace = secrets.token_hex(4)
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(worker(server.url, namespace, 250, 0.2, 2.0)) for _ in range(4)]
        for each in workers:
            assert await each.heard() == "ready"
        for each in workers:
            each.begin()
        results = [await each.last() for each in workers]
    assert results == [{"results": ["value of 1"], "count": 250}] * 4
    async with state_at(server.url, namespace=namespace) as state:
        assert await state.counters("loads").value(1) == 1


async def test_a_killed_loader_is_taken_over(server):
    namespace = secrets.token_hex(4)
    async with state_at(server.url, namespace=namespace) as state:
        state.cache._shared.liveness = 0.5
        cache, source = state.cache.family("own", str, ttl=60), Source("mine")
        async with worker(server.url, namespace, 1, 3600, 0.5) as other:
            assert await other.heard() == "ready"
            other.begin()
            assert await other.heard() == "loading"
            waiting = asyncio.create_task(cache.get_or_load(1, source))
            # It lives: its claim is renewed beyond its first end.
            await asyncio.sleep(0.8)
            assert source.loads == 0
            other.kill()
            assert await waiting == "mine"
        assert source.loads == 1


async def test_who_waits_is_woken_not_polling(server):
    namespace = secrets.token_hex(4)
    async with state_at(server.url, namespace=namespace) as here, state_at(server.url, namespace=namespace) as there:
        slow, mine = Source("theirs", takes=0.5), Source("mine")
        loading = asyncio.create_task(there.cache.family("own", str, ttl=60).get_or_load(1, slow))
        await until(lambda: slow.loads)
        waiting = asyncio.create_task(here.cache.family("own", str, ttl=60).get_or_load(1, mine))
        await asyncio.sleep(0.1)
        asked = here.statistics().operations["ClaimLoad"].operations
        await asyncio.sleep(0.3)
        assert asked == here.statistics().operations["ClaimLoad"].operations
        assert [await waiting, await loading] == ["theirs", "theirs"]
        assert mine.loads == 0


@pytest.mark.parametrize("gone", [False, True])
async def test_a_lost_channel_only_costs_time(server, gone):
    namespace = secrets.token_hex(4)
    async with state_at(server.url, namespace=namespace) as here, state_at(server.url, namespace=namespace) as there:
        slow, mine = Source("theirs", takes=0.3), Source("mine")
        # Nobody could wait for the claim to lapse.
        there.cache._shared.liveness = 1000.0
        loading = asyncio.create_task(there.cache.family("own", str, ttl=60).get_or_load(1, slow))
        await until(lambda: slow.loads)
        waiting = asyncio.create_task(here.cache.family("own", str, ttl=60).get_or_load(1, mine))
        await asyncio.sleep(0.05)
        if gone:
            await here._stack._subscriber.aclose()
            here._channels.on_want = lambda: None
            here._channels.silent(away=True)
        else:
            here._channels.tell(Topic(here.cache.family("own", str, ttl=60)._key(1)))
        assert [await waiting, await loading] == ["theirs", "theirs"]
        assert mine.loads == 0


async def test_the_end_of_a_load_is_told_though_it_stored_nothing(server):
    namespace = secrets.token_hex(4)
    async with state_at(server.url, namespace=namespace) as here, state_at(server.url, namespace=namespace) as there:
        cache = here.cache.family("own", str, ttl=60)
        topic = Topic(cache._key(1))
        with here._channels.waking(topic) as wake:
            await until(lambda: here._channels.hears(topic))
            wake.clear()
            await there._store.execute(EndLoad(cache._key(1), "nobody", None))
            async with asyncio.timeout(PATIENCE):
                await wake.wait(PATIENCE * 2, deaf=PATIENCE * 2)


async def test_a_user_who_may_not_listen_still_shares_loads(binary):
    async with Server(binary) as server:
        ask(server.url, "ACL SETUSER shy on >secret ~* +@all resetchannels")
        url = server.url.replace("://", "://shy:secret@")
        async with state_at(url) as here, state_at(url) as there:
            slow, mine = Source("theirs", takes=0.2), Source("mine")
            loading = asyncio.create_task(there.cache.family("own", str, ttl=60).get_or_load(1, slow))
            await until(lambda: slow.loads)
            assert await here.cache.family("own", str, ttl=60).get_or_load(1, mine) == "theirs"
            assert await loading == "theirs"
            assert mine.loads == 0


@pytest.mark.blocking
async def test_invalidations_of_an_outage_outlive_the_process(binary, tmp_path):
    async with Server(binary, appendonly=True, arguments=["--appendfsync", "always"]) as server:
        parts = {"directory": tmp_path, "breaker": BreakerSettings(probe_delay=0.02)}
        async with state_at(server.url, **parts) as state:
            for name in ("key", "family"):
                await state.cache.family(name, str, ttl=60).set(1, "old")
            await in_thread(server.kill)
            await until(lambda: state.mode is Mode.DEGRADED)
            await state.cache.family("key", str, ttl=60).delete(1)
            await state.cache.family("family", str, ttl=60).invalidate()
            await state.cache.family("key", str, ttl=60).set(2, "of the outage")
        await in_thread(server.restart)
        async with state_at(server.url, **parts) as state:
            await until(lambda: state.mode is Mode.CONNECTED)
            for name in ("key", "family"):
                assert await state.cache.family(name, str, ttl=60).get(1) is None
