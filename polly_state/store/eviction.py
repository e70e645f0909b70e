"""Whether the server would rather drop data than refuse a write."""

from __future__ import annotations

import re
from typing import Final

from polly_state.connection import ReplyError
from polly_state.store.repair import Ask

__all__ = ["eviction_policy"]

LIMIT: Final = re.compile(rb"\r\nmaxmemory:([0-9]+)")
POLICY: Final = re.compile(rb"\r\nmaxmemory_policy:([a-z-]+)")
KEEPS: Final = "noeviction"


async def eviction_policy(ask: Ask) -> str | None:
    """The policy by which the server drops data when its memory is full; None if it does not, or does not tell.

    Raises `StoreUnavailable`.
    """
    about = await ask("INFO", "memory")
    if isinstance(about, ReplyError):
        return None
    limit, policy = LIMIT.search(about), POLICY.search(about)
    # Without a limit the memory is never full.
    if limit is None or policy is None or not int(limit[1]):
        return None
    name = policy[1].decode()
    return None if name == KEEPS else name
