"""The story: the phases of the demo in order, and the comparison at its end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import anyio

from polly_state import Event, PollyState
from polly_state.demo.handles import Handles
from polly_state.demo.meter import Meter, origins_between
from polly_state.demo.report import Change, PhaseReport, Report, tables
from polly_state.demo.screen import Progress, Screen
from polly_state.demo.stage import Phase, Stage, open_stage
from polly_state.demo.tally import Tally, Verdict
from polly_state.demo.traffic import MEMBERS, Traffic
from polly_state.events import ModeChanged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from polly_state import Settings
    from polly_state.services import Imported

__all__ = ["run"]

TICK: Final = 0.1
PATIENCE: Final = 20.0
"""Seconds that a phase may take above its share, before the demo goes on with what is."""


async def run(
    settings: Settings,
    *,
    binaries: Mapping[str, Path],
    screen: Screen,
    seconds: float = 10.0,
    serverless: bool = False,
) -> Report:
    """Play the demo once.

    Args:
        settings: A Redis in these is used, under a namespace that is deleted afterwards; it is never stopped.
        binaries: Server programs by kind; the first that starts is played with when there is no Redis in *settings*.
        screen: Where progress and tables are shown.
        seconds: About how long it takes.
        serverless: Use the embedded store, whatever programs there are.

    Raises:
        StateError: The Redis of *settings* cannot be used.
        ServerFailed: The demo's own server did not come back.
    """
    with screen:
        async with open_stage(settings, binaries, serverless=serverless) as stage:
            screen.say(f"Store: {stage.store}")
            report = await Story(stage, screen, seconds).play()
    for table in tables(report):
        if table.rows:
            screen.show(table)
    screen.say(_promise(report))
    return report


class Story:
    """One run on one stage."""

    def __init__(self, stage: Stage, screen: Screen, seconds: float) -> None:
        self._stage = stage
        self._screen = screen
        self._seconds = seconds
        self._began = time.monotonic()
        self._meter = Meter()
        self._changes: list[Change] = []
        self._state = PollyState(stage.settings, observers=(self._observe,))

    async def play(self) -> Report:
        """All of it, from the import to the comparison."""
        traffic = Traffic(self._state, self._meter)
        async with self._state as state:
            imported, tally = await traffic.prepare()
            self._screen.say(f"Imported {imported.preferences} preferences of {imported.users} users")
            try:
                async with asyncio.TaskGroup() as members:
                    for member in range(MEMBERS):
                        members.create_task(traffic.serve(member), name=f"member {member}")
                    phases = [await self._phase(phase) for phase in self._stage.phases]
                    traffic.stop()
            except BaseExceptionGroup as group:
                raise _first(group) from group
            await self._drained()
            verdict = await self._compare(tally)
            return self._report(state, imported, phases, verdict)

    async def _phase(self, phase: Phase) -> PhaseReport:
        before, unanswered = self._state.statistics(), self._meter.unanswered
        began = time.monotonic()
        self._meter.cut()
        self._screen.say(f"{self._elapsed():5.1f} s  {phase.name}: {phase.told}")
        if phase.act is not None:
            await phase.act()
        lasts = self._seconds * phase.share
        while (passed := time.monotonic() - began) < lasts + PATIENCE:
            if passed >= lasts and self._state.mode is phase.mode:
                break
            self._screen.update(self._progress(phase))
            await anyio.sleep(min(TICK, max(lasts - passed, TICK / 5)))
        return PhaseReport(
            phase.name,
            time.monotonic() - began,
            self._meter.cut(),
            self._meter.unanswered - unanswered,
            origins_between(before, self._state.statistics()),
        )

    async def _drained(self) -> None:
        """Wait until Redis has every write, within reason."""
        bound = time.monotonic() + PATIENCE
        while self._state.health().pending and time.monotonic() < bound:  # noqa: ASYNC110 - no event tells
            await anyio.sleep(TICK / 5)

    async def _compare(self, tally: Tally) -> Verdict:
        if self._stage.direct is None:
            return await tally.compare(Handles(self._state))
        # This one has seen nothing, so whatever it knows is in Redis.
        async with PollyState(self._stage.direct, observers=()) as auditor:
            return await tally.compare(Handles(auditor))

    def _report(
        self,
        state: PollyState,
        imported: Imported,
        phases: list[PhaseReport],
        verdict: Verdict,
    ) -> Report:
        statistics = state.statistics()
        return Report(
            store=self._stage.store,
            seconds=self._elapsed(),
            users=imported.users,
            preferences=imported.preferences,
            phases=phases,
            operations=statistics.operations,
            changes=self._changes,
            pending=statistics.pending,
            verdict=verdict,
        )

    def _observe(self, event: Event) -> None:
        if isinstance(event, ModeChanged):
            change = Change(round(self._elapsed(), 3), event.previous.value, event.mode.value, event.reason)
            self._changes.append(change)
            self._screen.say(f"{change.at:5.1f} s  {change.previous} -> {change.mode}: {change.reason}")

    def _progress(self, phase: Phase) -> Progress:
        return Progress(
            phase.name,
            self._elapsed(),
            self._seconds,
            self._state.mode.value,
            self._meter.count,
            self._state.health().pending,
        )

    def _elapsed(self) -> float:
        return time.monotonic() - self._began


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _promise(report: Report) -> str:
    found = report.verdict
    told = (
        "Promise kept: everything that was acknowledged is there, once"
        if report.passed
        else "PROMISE BROKEN: not everything that was acknowledged is there, once"
    )
    return f"""
{told}
  {found.plays:,} plays: lost {found.lost}, doubled {found.doubled}
  {found.toggles:,} toggles: {found.wrong_switches} of {found.switches} switches wrong
  settings: {found.wrong_guilds} of {found.guilds} guilds wrong
  writes still waiting: {report.pending}"""
