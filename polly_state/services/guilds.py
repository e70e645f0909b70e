"""Guilds: settings over defaults, and what a music bot counts for a guild."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from polly_state.store import Ack
from polly_state.structures import Handles, Id, Ttl

__all__ = ["DEFAULTS", "Guilds"]

WEEK: Final = 7 * 86_400.0
MONTH: Final = 30 * 86_400.0
DEFAULTS: Final[Mapping[str, object]] = MappingProxyType(
    {"volume": 50, "autoplay": True, "max_autoplay_tracks": 50, "repeat": "off", "shuffle": False, "language": "en"}
)


class Guilds:
    """Settings that stay until they are reset, each written by itself; what was never set is as the defaults say.

    `autoplay` counts the tracks of autoplay, and ends 7 days after the last one; `repeats` counts repeats, for 30 days.
    """

    def __init__(self, handles: Handles, defaults: Mapping[str, object] = DEFAULTS, *, ttl: Ttl | None = None) -> None:
        """With a *ttl*, settings that are neither read nor written for so long are as the defaults say again."""
        self.defaults = MappingProxyType(dict(defaults))
        self._settings = handles.fields("guilds", object, ttl=ttl)
        self._sliding = ttl is not None
        self.autoplay = handles.counters("guild_autoplay", ttl=WEEK)
        self.repeats = handles.counters("guild_repeats", ttl=MONTH)

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
        """Let everything be as the defaults say, and count from 0; what others count meanwhile is counted."""
        counters = (self.autoplay, self.repeats)
        counts = await asyncio.gather(*(counter.value(guild_id) for counter in counters))
        await asyncio.gather(*(counter.add(guild_id, -count) for counter, count in zip(counters, counts, strict=True)))
        return await self._settings.clear(guild_id)
