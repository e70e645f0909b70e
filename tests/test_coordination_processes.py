"""Processes under the same limits, with Redis and without; `tests.endurance` does the same for locks."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from polly_state.testing import FaultProxy
from tests.coordination_worker import WINDOW

WORKER = Path(__file__).with_name("coordination_worker.py")
ROOT = WORKER.parent.parent
LIMIT = 400
SECONDS = 3.0
pytestmark = pytest.mark.blocking


@asynccontextmanager
async def workers(url, job, argument, processes):
    """Start the processes; entered when all have begun. Gives them, and a function that waits for their results."""
    namespace = f"many-{secrets.token_hex(4)}"
    words = [sys.executable, WORKER, url, namespace, job, str(argument)]
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE, "limit": 2**24}
    started = [
        await asyncio.create_subprocess_exec(*words, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, **pipes)
        for _ in range(processes)
    ]

    async def results():
        return [json.loads(await process.stdout.readline()) for process in started]

    try:
        async with asyncio.timeout(50):
            assert await results() == ["ready"] * processes
            for process in started:
                process.stdin.write(b"go\n")
            yield started, results
    finally:
        for process in started:
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)
                process.stdin.close()
                try:
                    await asyncio.wait_for(process.wait(), 10)
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def test_50_callers_in_4_processes_are_admitted_exactly_as_often_as_allowed(server):
    async with workers(server.url, "admit", LIMIT, 4) as (_, results):
        found = [decision for decisions in await results() for decision in decisions]
    assert len(found) == 2 * LIMIT
    assert sorted(remaining for allowed, remaining in found if allowed) == list(range(LIMIT))
    assert {remaining for allowed, remaining in found if not allowed} == {0}


async def test_4_processes_share_a_limit_while_redis_is_away(server):
    async with FaultProxy(server.url) as proxy, workers(proxy.url, "ask", SECONDS, 4) as (_, results):
        await asyncio.sleep(0.4)
        proxy.refuse()
        proxy.reset()
        found = await results()
    alone = max(min(each["share"]) for each in found)
    last = min(max(each["share"]) for each in found)
    assert all(each["redis"] for each in found)
    times = [moment for each in found for moment in each["share"]]
    starts = [alone + n * WINDOW for n in range(int((last - alone) / WINDOW))]
    windows = [sum(start <= moment < start + WINDOW for moment in times) for start in starts]
    assert len(windows) >= 3
    assert all(60 <= admitted <= 110 for admitted in windows), windows
