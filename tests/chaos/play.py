"""Playing a scenario: scene, workers, faults, judgement, and the line that tells of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from tests.chaos.checker import Verdict, check
from tests.chaos.history import Call, Past
from tests.chaos.scene import Scene

LONGEST_CALL = 1.0
"""Seconds that a call may last over its deadline, on a machine that does other things as well."""


Play: TypeAlias = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """What happens to the workers, and what is asked of them."""

    name: str
    play: Play
    """Hires workers and acts out the faults."""
    about: str
    control: str | None = None
    """The safeguard without which it must lose or double something."""
    short: bool = False
    """Whether it is part of the short form."""
    linear: bool = True
    forgets: bool = False
    """Whether the server loses what it has while it answers: until that is noticed, it truly has less."""
    server: dict[str, Any] = field(default_factory=dict)
    skipped: str | None = None


SCENARIOS: dict[str, Scenario] = {}


def scenario(name: str, about: str, **parts: Any) -> Callable[[Play], Play]:
    """Make a function a scenario."""

    def register(play: Play) -> Play:
        SCENARIOS[name] = Scenario(name, play, about, **parts)
        return play

    return register


async def perform(
    scenario: Scenario, binary: Path, seed: int, *, pace: float, without: str | None = None
) -> dict[str, Any]:
    """Play *scenario*; its line. As a control, without a safeguard, it is ok if it does lose or double."""
    line: dict[str, Any] = {"scenario": scenario.name, "seed": seed, "control": without is not None}
    if scenario.skipped is not None:
        return line | {"ok": True, "skipped": scenario.skipped}
    began = time.monotonic()
    async with Scene(binary, seed, pace=pace, without=without, **scenario.server) as scene:
        await scenario.play(scene)
        pasts = await scene.end()
        contents = await scene.contents()
        verdict = await scene.do(lambda: check(pasts, contents, linear=scenario.linear))
        line |= scene.timings(pasts)
        figures = [past.figures for past in pasts if past.figures is not None]
        line |= _counts(verdict, pasts, figures) | scene.figures
        line |= {"faults": scene.faults, "seconds": round(time.monotonic() - began, 1)}
        reasons = scene.reasons + _complaints(line, forgets=scenario.forgets)
    if without is None:
        return line | {"ok": not reasons, "reasons": reasons + verdict.examples}
    broken = line["lost"] + line["doubled"] + line.get("false_opens", 0)
    return line | {"without": without, "ok": broken > 0}


def _counts(verdict: Verdict, pasts: list[Past], figures: list[dict[str, Any]]) -> dict[str, Any]:
    calls = [call for past in pasts for call in past.calls if call.ended is not None and call.error != "cancelled"]
    away = [call for call in calls if call.degraded and call.acknowledged]
    return {
        "acked": verdict.acked,
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "stale": verdict.stale,
        "false_labels": verdict.false_labels,
        "labels": dict(verdict.by_label),
        "indeterminate": verdict.indeterminate,
        "refused": verdict.refused,
        "p99_us": _quantile([call for call in calls if not call.degraded], 0.99),
        "degraded_p99_us": _quantile(away, 0.99),
        "slowest_us": _quantile(calls, 1.0),
        "ended": len(figures),
        "loop_stall_max_ms": max((each["loop_stall_max_ms"] for each in figures), default=None),
        "drained_ms": max((each["drained_ms"] for each in figures), default=None),
        **{
            name: sum(each[name] for each in figures)
            for name in ("pending", "leaked_tasks", "superseded", "replayed", "dead", "resent", "possible_loss")
        },
    }


def _complaints(line: dict[str, Any], *, forgets: bool) -> list[str]:
    found = [f"{line[name]} {name}" for name in ("lost", "doubled", "false_labels", "dead") if line[name]]
    if line["stale"] and not forgets:
        found.append(f"{line['stale']} stale")
    # Whoever is flushed for longer than the ring remembers is told so.
    names = ("pending", "leaked_tasks") if forgets else ("pending", "leaked_tasks", "possible_loss")
    found += [f"{line[name]} {name}" for name in names if line[name]]
    if line["slowest_us"] and line["slowest_us"] > (line.get("deadline", 0.25) + LONGEST_CALL) * 1e6:
        found.append("a call outlasted its deadline")
    if not line["acked"]:
        found.append("nothing was written")
    return found


def _quantile(calls: list[Call], share: float) -> int | None:
    taken = sorted((call.ended or 0.0) - call.began for call in calls)
    return round(taken[min(len(taken) - 1, int(len(taken) * share))] * 1e6) if taken else None
