"""`python -m tests.chaos [--json FILE] [--seed N] [--only C3,C4] [--short]`: a JSON line for each scenario and control.

The exit code is 0 if every scenario kept its promise, and every control, one safeguard short, did not.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

import orjson

from polly_state.testing import available
from tests.chaos import group_faults, link_faults, process_faults, server_faults, soak
from tests.chaos.play import SCENARIOS, Scenario, perform

MODULES = (link_faults, server_faults, process_faults, group_faults, soak)
SHORT, FULL = 0.4, 1.0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tests.chaos", description="What happens to acknowledged writes under faults."
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the lines there too")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", metavar="C3,C4", help="these scenarios and their controls")
    parser.add_argument("--short", action="store_true", help="the most telling ones, in less time")
    options = parser.parse_args()
    binaries = available()
    if not binaries:
        parser.error("no valkey or redis server on this machine")
    wanted = options.only.split(",") if options.only else list(SCENARIOS)
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}")
    chosen = [SCENARIOS[name] for name in sorted(wanted, key=lambda name: int(name[1:]))]
    if options.short:
        chosen = [each for each in chosen if each.short]
    outputs = [sys.stdout, *([options.json.open("w")] if options.json else [])]
    pace = SHORT if options.short else FULL
    return asyncio.run(run(chosen, next(iter(binaries.values())), options.seed, pace, outputs))


async def run(chosen: Iterable[Scenario], binary: Path, seed: int, pace: float, outputs: list[TextIO]) -> int:
    lines: list[dict[str, Any]] = []
    for scenario in chosen:
        for without in [None] if scenario.control is None else [None, scenario.control]:
            line = await perform(scenario, binary, seed, pace=pace, without=without)
            lines.append(line)
            show(line, outputs)
    told = [line for line in lines if not line["control"]]
    totals = {name: sum(line.get(name, 0) for line in told) for name in ("acked", "lost", "doubled", "false_labels")}
    labelled = sum(sum(line.get("labels", {}).values()) for line in told)
    ok = all(line["ok"] for line in lines)
    show({"scenario": "all", "seed": seed, **totals, "labels": labelled, "ok": ok}, outputs)
    return 0 if ok else 1


def show(line: dict[str, Any], outputs: list[TextIO]) -> None:
    for output in outputs:
        output.write(orjson.dumps(line).decode() + "\n")
        output.flush()


if __name__ == "__main__":
    sys.exit(main())
