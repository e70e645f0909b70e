"""What the tests of stores share: a Redis that can be cut off from one state, and not from another."""

from __future__ import annotations

import pytest

from polly_state.testing import FaultProxy
from tests.outages import QUICK, state_at


@pytest.fixture
async def proxy(server):
    async with FaultProxy(server.url) as proxy:
        yield proxy


@pytest.fixture
async def state(proxy, namespace):
    async with state_at(proxy.url, namespace=namespace, breaker=QUICK) as state:
        yield state


@pytest.fixture
async def other(server, namespace):
    """Another process' view of the same Redis, which never goes away for it."""
    async with state_at(server.url, namespace=namespace) as state:
        yield state
