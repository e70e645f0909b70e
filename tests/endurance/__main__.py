"""`python -m tests.endurance [--short] [--only inbox,locks] [--seed N] [--json FILE]`: a JSON line for each run.

The exit code is 0 if nothing was lost, nothing was repeated without saying so, and no fenced writes overlapped.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson

from polly_state.testing import available
from tests.endurance import inbox, locks

SHORT: dict[str, dict[str, Any]] = {
    "inbox": {"messages": 5000, "pause": 0.1, "visibility": 0.5},
    "locks": {"cycles": 600, "pause": 0.1, "losses": 5},
}
FULL: dict[str, dict[str, Any]] = {
    "inbox": {"messages": 100_000, "pause": 0.3, "visibility": 2.0},
    "locks": {"cycles": 10_000, "pause": 0.5, "losses": 100},
}
RUNS = {"inbox": inbox.run, "locks": locks.run}


async def perform(name: str, binary: Path, *, short: bool, seed: int = 1) -> dict[str, Any]:
    """The line of one run."""
    with tempfile.TemporaryDirectory(prefix="polly-endurance-", ignore_cleanup_errors=True) as folder:
        return await RUNS[name](binary, Path(folder), **(SHORT if short else FULL)[name], seed=seed)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.endurance", description="Inboxes and locks, for long, under faults.")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", default=",".join(RUNS), metavar="inbox,locks")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the lines there too")
    options = parser.parse_args()
    names, binaries = options.only.split(","), available()
    if not set(names) <= RUNS.keys():
        parser.error(f"choose from {', '.join(RUNS)}")
    if not binaries:
        parser.error("no valkey or redis server on this machine")
    binary, lines = next(iter(binaries.values())), list[dict[str, Any]]()
    for name in names:
        lines.append(asyncio.run(perform(name, binary, short=options.short, seed=options.seed)))
        sys.stdout.write(orjson.dumps(lines[-1]).decode() + "\n")
        sys.stdout.flush()
    if options.json:
        options.json.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return 0 if all(line["ok"] for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
