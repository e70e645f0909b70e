"""Guilds: settings over defaults, and what a music bot counts for a guild."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from polly_state.store import Ack
from polly_state.structures import Counters, Handles, Id, Ttl, Values

__all__ = ["DEFAULTS", "GuildCounter", "Guilds"]

WEEK: Final = 7 * 86_400.0
MONTH: Final = 30 * 86_400.0
DEFAULTS: Final[Mapping[str, object]] = MappingProxyType(
    {"volume": 50, "autoplay": True, "max_autoplay_tracks": 50, "repeat": "off", "shuffle": False, "language": "en"}
)


class GuildCounter:
    """What is counted for each guild since its last reset."""

    def __init__(self, counters: Counters, eras: Values[str]) -> None:
        self._counters = counters
        self._eras = eras

    async def add(self, guild_id: Id, by: int = 1) -> int:
        """Add *by*, which may be negative; the new count."""
        return await self._counters.add(await self._id(guild_id), by)

    async def value(self, guild_id: Id) -> int:
        """The count; 0 only if nothing was counted."""
        return await self._counters.value(await self._id(guild_id))

    async def _id(self, guild_id: Id) -> Id:
        era = await self._eras.get(guild_id)
        return guild_id if era is None else (*(guild_id if isinstance(guild_id, tuple) else (guild_id,)), era)


class Guilds:
    """Settings that stay until they are reset, each written by itself; what was never set is as the defaults say.

    `autoplay` counts the tracks of autoplay, and ends 7 days after the last one; `repeats` counts repeats, for 30 days.
    Counts belong to the era of their guild, and a reset begins another.
    """

    def __init__(self, handles: Handles, defaults: Mapping[str, object] = DEFAULTS, *, ttl: Ttl | None = None) -> None:
        """With a *ttl*, settings that are neither read nor written for so long are as the defaults say again."""
        self.defaults = MappingProxyType(dict(defaults))
        self._settings = handles.fields("guilds", object, ttl=ttl)
        self._sliding = ttl is not None
        self._eras = handles.map("guild_eras", str)
        self.autoplay = GuildCounter(handles.counters("guild_autoplay", ttl=WEEK), self._eras)
        self.repeats = GuildCounter(handles.counters("guild_repeats", ttl=MONTH), self._eras)

    async def settings(self, guild_id: Id) -> dict[str, object]:
        """Every setting. Raises `StateUnavailable` when they are not known."""
        found = await self._settings.all(guild_id)
        if self._sliding and found:
            await self._settings.touch(guild_id)
        return {**self.defaults, **found}

    async def get(self, guild_id: Id, name: str) -> object:
        """One setting; None only if there is none, and no default."""
        found = await self._settings.get(guild_id, name)
        return self.defaults.get(name) if found is None else found

    async def update(self, guild_id: Id, **settings: object) -> Ack:
        """Set these, and no other."""
        return await self._settings.patch(guild_id, settings)

    async def reset(self, guild_id: Id) -> Ack:
        """Let everything be as the defaults say, and count from 0.

        What is set after it stays, also if the reset was kept in an outage and comes to Redis later; what others have
        counted until it comes is not counted.
        """
        counts = self._eras.set(guild_id, secrets.token_hex(4))
        return min(await asyncio.gather(counts, self._settings.clear(guild_id)))
