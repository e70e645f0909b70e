"""Guilds: settings over defaults, and what a music bot counts for a guild."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final

from polly_state.errors import StateUnavailable
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
    All that is kept for a guild belongs to its era, and a reset is one write, which begins another.
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
        era, found = await asyncio.gather(self._eras.get(guild_id), self._settings.all(guild_id))
        if self._sliding and found:
            await self._settings.touch(guild_id)
        prefix = _prefix(era)
        return {**self.defaults, **{name[len(prefix) :]: found[name] for name in found if name.startswith(prefix)}}

    async def get(self, guild_id: Id, name: str) -> object:
        """One setting; None only if there is none, and no default."""
        era, found = await asyncio.gather(self._eras.get(guild_id), self._settings.get(guild_id, name))
        if era is not None:
            found = await self._settings.get(guild_id, _prefix(era) + name)
        return self.defaults.get(name) if found is None else found

    async def update(self, guild_id: Id, **settings: object) -> Ack:
        """Set these, and no other."""
        prefix = _prefix(await self._eras.get(guild_id))
        return await self._settings.patch(guild_id, {prefix + name: value for name, value in settings.items()})

    async def reset(self, guild_id: Id) -> Ack:
        """Let everything be as the defaults say, and count from 0, all in one step; what comes after it is counted.

        One that was kept in an outage takes away all that others have written until it came to Redis.
        """
        names: dict[str, object] = {}
        with suppress(StateUnavailable):
            names = await self._settings.all(guild_id)
        ack = await self._eras.set(guild_id, secrets.token_hex(4))
        # Nobody sees these any more.
        if names:
            await self._settings.delete(guild_id, *names)
        return ack


def _prefix(era: str | None) -> str:
    return "" if era is None else f"{era}~"
