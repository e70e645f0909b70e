"""Bans: who may not come in, and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from polly_state.store import Ack
from polly_state.structures import Handles, Ttl, seconds

__all__ = ["Ban", "Banned", "Bans"]


@dataclass(frozen=True)
class Ban:
    """A ban as it is kept."""

    by: str
    reason: str
    until: float | None
    """Seconds since the epoch; None for good."""


class Banned(NamedTuple):
    """What to tell who is banned."""

    by: str
    reason: str
    remaining: float | None
    """Seconds; None for good."""


class Bans:
    """Bans from one room, or from all. A question that cannot be answered raises `StateUnavailable`: it is no No."""

    def __init__(self, handles: Handles, now: Callable[[], float] = time.time) -> None:
        self._bans = handles.map("bans", Ban)
        self._now = now

    async def ban(
        self, user_id: str | int, ttl: Ttl | None, *, by: str, reason: str = "", room: str | None = None
    ) -> Ack:
        """Keep a user out of a room, or of all rooms, for *ttl* seconds, or with None for good; the last ban counts."""
        lifetime = seconds(ttl)
        until = None if lifetime is None else self._now() + lifetime
        return await self._bans.set(_id(user_id, room), Ban(by, reason, until), ttl=lifetime)

    async def get(self, user_id: str | int, room: str | None = None) -> Banned | None:
        """The longest ban that keeps a user out of a room, or of all; None only if there is none."""
        now = self._now()
        found = (await self._bans.get_many({_id(user_id, None), _id(user_id, room)})).values()
        bans = [Banned(ban.by, ban.reason, None if ban.until is None else ban.until - now) for ban in found]
        held = [ban for ban in bans if ban.remaining is None or ban.remaining > 0]
        return max(held, key=lambda ban: float("inf") if ban.remaining is None else ban.remaining, default=None)

    async def lift(self, user_id: str | int, room: str | None = None) -> Ack:
        """End a ban from a room, or the one from all rooms; the other kind stays."""
        return await self._bans.delete(_id(user_id, room))


def _id(user_id: str | int, room: str | None) -> tuple[str | int, ...]:
    return (user_id,) if room is None else (user_id, room)
