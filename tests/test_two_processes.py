"""Two processes on one key: nothing is lost between them, and nothing counts twice."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from polly_state.testing import FaultProxy
from tests.outages import state_at, until

WORKER = Path(__file__).with_name("worker.py")
ROOT = WORKER.parent.parent
BEGUN = 50_000
"""Bytes of requests after which a job is under way, and far from done."""


@asynccontextmanager
async def workers(url, namespace, job, count, *, at_once, processes=2):
    """Start the processes; entered when all are ready. Gives a function that runs the job and gives the results."""
    words = [sys.executable, WORKER, url, namespace, job, str(count), str(at_once)]
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    started = [
        await asyncio.create_subprocess_exec(*words, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, **pipes)
        for _ in range(processes)
    ]

    async def run():
        for process in started:
            process.stdin.write(b"go\n")
        return [json.loads(await process.stdout.readline()) for process in started]

    try:
        async with asyncio.timeout(50):
            for process in started:
                assert json.loads(await process.stdout.readline()) == "ready"
            yield run
    finally:
        for process in started:
            if process.returncode is None:
                process.stdin.close()
                try:
                    await asyncio.wait_for(process.wait(), 10)
                except TimeoutError:
                    process.kill()
                    await process.wait()


@asynccontextmanager
async def resetting(proxy, *, pause=0.025, drop=False):
    """Reset every connection now and then, with some replies lost just before."""
    chance = random.Random(11)

    async def misbehave():
        while True:
            await asyncio.sleep(chance.uniform(pause / 2, pause * 1.5))
            if drop:
                proxy.drop_replies()
                await asyncio.sleep(0.002)
                proxy.heal()
            proxy.reset()

    task = asyncio.create_task(misbehave())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        proxy.heal()


def fresh() -> str:
    return f"two-{secrets.token_hex(4)}"


@pytest.mark.blocking
@pytest.mark.parametrize("kind", ["valkey_server", "redis_server"])
def test_50_toggles_at_once_from_2_processes_give_the_exact_result(kind, request):
    server = request.getfixturevalue(kind)

    async def check():
        for _ in range(2):
            namespace = fresh()
            async with workers(server.url, namespace, "toggle", 25, at_once=25) as run:
                reports = await run()
            results = [result for report in reports for result in report["results"]]
            # Every toggle met another state: half of them turned it on, and the last turned it off.
            assert (results.count(True), results.count(False)) == (25, 25)
            assert [report["modes"] for report in reports] == [[], []]
            async with state_at(server.url, namespace=namespace) as state:
                assert not await state.preferences.is_enabled(1, "bot")

    asyncio.run(check())


@pytest.mark.blocking
async def test_an_odd_number_of_toggles_leaves_it_on(server):
    namespace = fresh()
    async with workers(server.url, namespace, "toggle", 17, at_once=17, processes=3) as run:
        reports = await run()
    results = [result for report in reports for result in report["results"]]
    assert (results.count(True), results.count(False)) == (26, 25)
    async with state_at(server.url, namespace=namespace) as state:
        assert await state.preferences.is_enabled(1, "bot")


@pytest.mark.blocking
@pytest.mark.parametrize(("processes", "count", "at_once"), [(2, 500, 25), (3, 200, 1)])
async def test_long_contention_starves_nobody(server, processes, count, at_once):
    namespace = fresh()
    async with workers(server.url, namespace, "toggle", count, at_once=at_once, processes=processes) as run:
        reports = await run()
    results = [result for report in reports for result in report["results"]]
    assert results.count(True) == results.count(False) == processes * count // 2


@pytest.mark.blocking
@pytest.mark.parametrize("drop", [False, True], ids=["reset", "reply lost"])
async def test_toggles_stay_exact_when_connections_are_reset(server, drop):
    namespace = fresh()
    async with (
        FaultProxy(server.url) as proxy,
        workers(proxy.url, namespace, "required_toggle", 1500, at_once=10) as run,
        resetting(proxy, drop=drop),
    ):
        reports = await run()
    results = [result for report in reports for result in report["results"]]
    known = [result for result in results if result is not None]
    unsure = len(results) - len(known)
    assert sum(report["made"] for report in reports) > 3
    assert sum(report["retries"] for report in reports) > 0
    # Those whose outcome is unknown were told so; all others alternate.
    assert abs(known.count(True) - known.count(False)) <= unsure
    async with state_at(server.url, namespace=namespace) as state:
        on = await state.preferences.is_enabled(1, "bot")
    if unsure == 0:
        assert known.count(True) - known.count(False) == int(on)
    assert unsure < len(results) / 4


@pytest.mark.blocking
@pytest.mark.parametrize("drop", [False, True], ids=["reset", "reply lost"])
async def test_counters_of_2_processes_stay_exact_when_connections_are_reset(server, drop):
    namespace = fresh()
    async with (
        FaultProxy(server.url) as proxy,
        workers(proxy.url, namespace, "add", 5000, at_once=25) as run,
        resetting(proxy, drop=drop),
    ):
        reports = await run()
    assert sum(report["made"] for report in reports) > 3
    async with state_at(server.url, namespace=namespace) as state:
        assert await state.counters("plays").value("x") == 10_000


@pytest.mark.blocking
async def test_counters_of_2_processes_stay_exact_over_an_outage(server):
    namespace = fresh()
    async with FaultProxy(server.url) as proxy, workers(proxy.url, namespace, "add", 3000, at_once=25) as run:

        async def outage():
            before = proxy.requested
            await until(lambda: proxy.requested > before + BEGUN)
            proxy.hold()
            await asyncio.sleep(0.1)
            proxy.refuse()
            proxy.reset()
            # Long enough for a process that has had no turn for a while to notice.
            await asyncio.sleep(0.8)
            proxy.heal()

        reports, _ = await asyncio.gather(run(), outage())
    assert all("degraded" in report["modes"] for report in reports)
    async with state_at(server.url, namespace=namespace) as state:
        assert await state.counters("plays").value("x") == 6000
