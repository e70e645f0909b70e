"""Round trips, and Redis' time, which all stamps are taken from, wherever they are made."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from polly_state.connection.link import Link
from polly_state.connection.packing import pack
from polly_state.connection.replies import ReplyError
from polly_state.stamps import HybridClock
from polly_state.wire import Reply, Words

__all__ = ["round_trip", "sample_time"]


async def sample_time(link: Link, clock: HybridClock) -> None:
    """Ask for the time, and let *clock* follow it; a user who may not ask goes by this host's time."""
    began = time.perf_counter()
    reply = await link.submit(pack(("TIME",)))
    if not isinstance(reply, ReplyError):
        clock.follow(int(reply[0]) + int(reply[1]) / 1e6, time.perf_counter() - began)


async def round_trip(send: Callable[[Words], Awaitable[Reply]]) -> float:
    """Seconds for a question and its answer."""
    began = time.perf_counter()
    await send(("PING",))
    return time.perf_counter() - began
