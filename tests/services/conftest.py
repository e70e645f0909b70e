"""Everything that services must work on: with a Redis, with a directory, with neither."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from polly_state import PollyState, Settings


@pytest.fixture(params=["memory", pytest.param("directory", marks=pytest.mark.blocking), "valkey", "redis"])
def everywhere(request, tmp_path: Path):
    """Settings of one kind."""
    if request.param == "memory":
        return Settings()
    if request.param == "directory":
        return Settings(directory=tmp_path / "state")
    server = request.getfixturevalue(f"{request.param}_server")
    return Settings.from_url(server.url, namespace=f"service-{secrets.token_hex(4)}")


@pytest.fixture
async def anywhere(everywhere):
    async with PollyState(everywhere, observers=()) as state:
        yield state
