"""`python -m benchmarks NAME ... [--json FILE]`: measure, print tables, and keep the figures."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import (
    codec,
    degraded,
    degraded_write,
    get_or_load,
    history,
    inbox,
    labels,
    latency,
    limiter,
    locks,
    memory,
    near_cache,
    recovery,
    replay,
    staleness,
    stampede,
    startup,
    tags,
    throughput,
    tracking,
)
from benchmarks.run import Report

OUTAGES = (degraded, degraded_write, recovery, replay)
CACHES = (near_cache, memory, staleness, tracking, get_or_load, stampede, tags, codec)
MODULES = (throughput, latency, labels, startup, limiter, locks, inbox, history, *OUTAGES, *CACHES)
BENCHMARKS = {module.__name__.rpartition(".")[2]: module for module in MODULES}


def main(words: Sequence[str] | None = None) -> None:
    arguments = _parser().parse_args(words)
    names = list(BENCHMARKS) if "all" in arguments.names else arguments.names
    reports = []
    for name in names:
        reports.append(_run(name, arguments))
        reports[-1].show()
    if arguments.json is not None:
        found = [report.as_json() for report in reports]
        content = found[0] if len(found) == 1 else found
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="+", choices=[*BENCHMARKS, "all"], metavar="NAME")
    parser.add_argument("--json", type=Path, help="write the report here; several make a list")
    parser.add_argument("--rounds", type=int, help="how many, instead of the benchmark's own number")
    parser.add_argument("--seconds", type=float, help="for each turn, or each outage")
    return parser


def _run(name: str, arguments: argparse.Namespace) -> Report:
    module = BENCHMARKS[name]
    chosen = {"rounds": arguments.rounds, "seconds": arguments.seconds}
    plan = replace(module.PLAN, **{key: value for key, value in chosen.items() if value})
    return asyncio.run(module.run(plan))


if __name__ == "__main__":
    main()
