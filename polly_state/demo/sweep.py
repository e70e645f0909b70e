"""The sweep: deletes what the demo has written to somebody's Redis, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Final

from polly_state import DeadlineExceeded, Event, Settings
from polly_state.connection import ConnectionManager, ReplyError
from polly_state.stamps import HybridClock
from polly_state.wire import Reply

__all__ = ["sweep"]

STEP: Final = 1000
PATIENCE: Final = 60.0


async def sweep(settings: Settings) -> int:
    """Delete every key of the settings' namespace; how many there were.

    Raises:
        StateError: Redis did not let it; the message names the namespace.
    """
    assert settings.address is not None  # noqa: S101
    connection = ConnectionManager(settings.address, settings, clock=HybridClock(), observe=_ignore)
    try:
        await connection.start()
        async with asyncio.timeout(PATIENCE):
            return await _delete_all(connection, settings.namespace)
    except TimeoutError as error:
        raise DeadlineExceeded(f"not all keys of {settings.namespace} could be deleted in {PATIENCE:g} s") from error
    finally:
        await connection.aclose()


async def _delete_all(connection: ConnectionManager, namespace: str) -> int:
    # SCAN goes by pattern; a namespace has no character that means anything in one.
    deleted, cursor = 0, b"0"
    while True:
        words = ("SCAN", cursor, "MATCH", f"{namespace}:*", "COUNT", STEP)
        cursor, keys = await _ask(connection, *words)
        if keys:
            deleted += await _ask(connection, "DEL", *keys)
        if int(cursor) == 0:
            return deleted


async def _ask(connection: ConnectionManager, *words: str | bytes | int) -> Reply:
    reply = await connection.send(words)
    if isinstance(reply, ReplyError):
        raise connection.refused(reply)
    return reply


def _ignore(event: Event) -> None:
    """Nobody needs to know."""
