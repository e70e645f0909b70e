"""The processes of an endurance run, which are killed and stopped at random, and replaced."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from tests.endurance.worker import Plan

ROOT = Path(__file__).parents[2]
READY = 30.0


class Member:
    """One process of the crew."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.finished = False
        """Whether it has done all that it had to do."""

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.endurance.worker",
            self.plan.dump(),
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(READY):
            await self._line("ready")
        self._waiting = asyncio.create_task(self._finish())

    async def _finish(self) -> None:
        await self._line("done")
        self.finished = True

    async def _line(self, expected: str) -> None:
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode().strip()
        # A process that is killed says nothing any more.
        if line != expected and self._process.returncode is None:
            await self._process.wait()
        if line != expected and self._process.returncode != -signal.SIGKILL:
            raise RuntimeError(f"a process failed with {self._process.returncode}")
        if line != expected:
            raise asyncio.CancelledError

    def pause(self) -> None:
        """Stop it where it stands (SIGSTOP)."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it without a goodbye (SIGKILL)."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await asyncio.gather(self._waiting, return_exceptions=True)

    async def end(self) -> None:
        """Let it finish what it is doing. Raises if it had failed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(READY):
                await self._process.wait()
        finally:
            await self.kill()
        if self._process.returncode:
            raise RuntimeError(f"a process failed with {self._process.returncode}")


class Crew:
    """All of them; `async with` ends them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._members: list[Member] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(member.kill() for member in self._members))

    async def hire(self, count: int, **parts: Any) -> list[Member]:
        """Start so many, each with notes and a seed of its own."""
        plans = [
            Plan(seed=number, notes=str(self._folder / f"notes-{number}"), **parts)
            for number in range(len(self._members), len(self._members) + count)
        ]
        members = [Member(plan) for plan in plans]
        await asyncio.gather(*(member.start() for member in members))
        self._members += members
        return members

    async def replace(self, member: Member, **changes: Any) -> None:
        """Kill one, and start it again with a plan that is changed so far."""
        await member.kill()
        member.plan = replace(member.plan, **changes)
        await member.start()
