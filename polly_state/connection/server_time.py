"""Redis' time, which all stamps are taken from, wherever they are made."""

from __future__ import annotations

import time

from polly_state.connection.link import Link
from polly_state.connection.packing import pack
from polly_state.connection.replies import ReplyError
from polly_state.stamps import HybridClock

__all__ = ["sample_time"]


async def sample_time(link: Link, clock: HybridClock) -> None:
    """Ask for the time, and let *clock* follow it; a user who may not ask goes by this host's time."""
    began = time.perf_counter()
    reply = await link.submit(pack(("TIME",)))
    if not isinstance(reply, ReplyError):
        clock.follow(int(reply[0]) + int(reply[1]) / 1e6, time.perf_counter() - began)
