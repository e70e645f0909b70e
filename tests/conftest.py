"""Servers to test against, and a watch on what blocks the event loop."""

from __future__ import annotations

import secrets
import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from blockbuster import blockbuster_ctx

from polly_state.commands import load_scripts
from polly_state.testing import Server, ServerFailed, available
from tests.clusters import Clustered
from tests.stores import (  # noqa: F401
    fakeredis_server,
    local,
    redis_store,
    redis_url,
    store,
    store_url,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_configure() -> None:
    """Let the disk be asked now, not on an event loop, for temporary folders and scripts."""
    tempfile.gettempdir()
    load_scripts()


@pytest.fixture(autouse=True)
def nothing_blocks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which polly_state blocks the event loop, unless it is marked `blocking`."""
    if request.node.get_closest_marker("blocking") is not None:
        yield
        return
    with blockbuster_ctx("polly_state"):
        yield


@pytest.fixture
def namespace() -> str:
    """Where a test is alone on a server that others share."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def binaries() -> dict[str, Path]:
    """The server programs of this machine by kind, for tests that start a server of their own."""
    return available()


@pytest.fixture(scope="session")
def binary(binaries: dict[str, Path]) -> Path:
    """The first of the server programs."""
    if not binaries:
        pytest.skip("no valkey or redis server on this machine")
    return next(iter(binaries.values()))


@pytest.fixture(scope="session")
def valkey_server(binaries: dict[str, Path]) -> Iterator[Server]:
    """One Valkey for the whole run; who freezes or kills a server starts one of their own."""
    with _server("valkey", binaries) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(binaries: dict[str, Path]) -> Iterator[Server]:
    """One Redis for the whole run; who freezes or kills a server starts one of their own."""
    with _server("redis", binaries) as server:
        yield server


@pytest.fixture(scope="session")
def cluster_server(binary: Path) -> Iterator[Clustered]:
    """A Cluster of three masters for the whole run; who moves slots or kills servers starts one of their own."""
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(Clustered(binary))
        except ServerFailed:
            # Six ports at once: somebody else has taken one of them before its server could.
            cluster = stack.enter_context(Clustered(binary))
        yield cluster


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, binaries: dict[str, Path]) -> Server:
    """The first of the two servers that this machine has."""
    kind = next(iter(binaries), "valkey")
    return request.getfixturevalue(f"{kind}_server")


def _server(kind: str, binaries: dict[str, Path]) -> Server:
    if kind not in binaries:
        pytest.skip(f"no {kind} server on this machine")
    return Server(binaries[kind])
