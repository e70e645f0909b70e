"""The command line as users have it: a process of its own, with an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from polly_state.testing import Server

ROOT = Path(__file__).parents[2]
FOREIGN = ("REDIS_", "VALKEY_", "POLLY_STATE_", "USE_REDIS", "CONTAINER_ID")


def environment(**variables):
    kept = {name: text for name, text in os.environ.items() if not name.startswith(FOREIGN)}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **variables}


@pytest.fixture
def polly():
    """Run `polly-state` with arguments, and environment variables as keywords."""

    def run(*words, **variables):
        return subprocess.run(
            [sys.executable, "-m", "polly_state.cli", *map(str, words)],
            capture_output=True,
            check=False,
            cwd="/",
            env=environment(**variables),
            text=True,
            timeout=50,
        )

    return run


@pytest.fixture
def start_polly():
    """Like `polly`, without waiting for the end."""
    started = []

    def start(*words, **variables):
        process = subprocess.Popen(
            [sys.executable, "-m", "polly_state.cli", *words],
            cwd="/",
            env=environment(**variables),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def own_server(binary):
    """A server that nobody else writes to."""
    with Server(binary) as server:
        yield server


@pytest.fixture
def nowhere(binary):
    """The URL of a server that is not there, with a password."""
    return Server(binary, password="s3cret").url
