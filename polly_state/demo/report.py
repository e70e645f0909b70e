"""The report: what the demo has found, as data, as JSON and as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from polly_state.demo.meter import Durations, Origins
from polly_state.demo.tally import Verdict
from polly_state.store import OperationStatistics

__all__ = ["Change", "PhaseReport", "Report", "Table", "tables"]


class Change(NamedTuple):
    """The state went from one mode to another, so many seconds after the start."""

    at: float
    previous: str
    mode: str
    reason: str


@dataclass(frozen=True, slots=True)
class PhaseReport:
    """How the bot's calls fared in one phase."""

    name: str
    seconds: float
    durations: Durations
    unanswered: int
    origins: Origins


@dataclass(frozen=True, slots=True)
class Report:
    """All of it."""

    store: str
    seconds: float
    users: int
    preferences: int
    phases: list[PhaseReport]
    operations: dict[str, OperationStatistics]
    changes: list[Change]
    pending: int
    """Writes that had still not reached Redis at the end."""
    verdict: Verdict

    @property
    def passed(self) -> bool:
        """Whether the promise was kept."""
        return self.verdict.holds and self.pending == 0

    def answered(self) -> Origins:
        """Where reads and writes were answered, over all phases."""
        reads: Counter[str] = Counter()
        writes: Counter[str] = Counter()
        for phase in self.phases:
            reads.update(phase.origins.reads)
            writes.update(phase.origins.writes)
        return Origins(dict(reads), dict(writes))

    def as_json(self) -> dict[str, Any]:
        """For machines; times of calls in microseconds."""
        return {
            "store": self.store,
            "passed": self.passed,
            "seconds": round(self.seconds, 3),
            "imported": {"users": self.users, "preferences": self.preferences},
            "phases": [
                {
                    "name": phase.name,
                    "seconds": round(phase.seconds, 3),
                    "operations": phase.durations.calls,
                    "p50_us": _microseconds(phase.durations.p50),
                    "p99_us": _microseconds(phase.durations.p99),
                    "slowest_us": _microseconds(phase.durations.slowest),
                    "unanswered": phase.unanswered,
                    **phase.origins._asdict(),
                }
                for phase in self.phases
            ],
            "operations": {
                name: {
                    "answered": found.operations,
                    "failed": found.errors,
                    "by_origin": found.by_origin,
                    "p50_us": _microseconds(found.p50),
                    "p99_us": _microseconds(found.p99),
                }
                for name, found in self.operations.items()
            },
            "mode_changes": [change._asdict() for change in self.changes],
            "answered": self.answered()._asdict(),
            "pending": self.pending,
            "verdict": self.verdict._asdict(),
        }


class Table(NamedTuple):
    """What a screen shows in rows; the first column is text, the others are numbers unless *texts* says otherwise."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    texts: frozenset[int] = frozenset({0})


def tables(report: Report) -> list[Table]:
    """The report for people."""
    return [_phases(report), _answers(report), _operations(report), _changes(report)]


def _microseconds(seconds: float) -> float:
    return round(seconds * 1e6, 1)


def _phases(report: Report) -> Table:
    rows = [
        (
            phase.name,
            f"{phase.seconds:.1f} s",
            f"{phase.durations.calls:,}",
            _time(phase.durations.p50),
            _time(phase.durations.p99),
            _time(phase.durations.slowest),
            str(phase.unanswered),
        )
        for phase in report.phases
    ]
    header = ("phase", "lasted", "calls", "p50", "p99", "slowest", "unanswered")
    return Table("What the bot has felt", header, rows)


def _answers(report: Report) -> Table:
    rows = [(phase.name, _counts(phase.origins.reads), _counts(phase.origins.writes)) for phase in report.phases]
    texts = frozenset({0, 1, 2})
    return Table("Where it was answered", ("phase", "reads", "writes"), rows, texts)


def _operations(report: Report) -> Table:
    rows = [
        (name, f"{found.operations:,}", str(found.errors), _time(found.p50), _time(found.p99))
        for name, found in sorted(report.operations.items())
    ]
    title = "Commands (times to within a factor of two)"
    return Table(title, ("command", "answered", "failed", "p50", "p99"), rows)


def _changes(report: Report) -> Table:
    rows = [(f"{change.at:.2f} s", f"{change.previous} -> {change.mode}", change.reason) for change in report.changes]
    return Table("Mode changes", ("at", "mode", "because"), rows, frozenset({0, 1, 2}))


def _counts(origins: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(origins.items())) or "-"


def _time(seconds: float) -> str:
    if seconds * 1e3 < 1:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
