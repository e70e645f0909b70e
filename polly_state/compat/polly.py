"""Polly's cache service and Redis client, by their documented names.

Of ``from polly.cache_service import ...`` and ``from polly.redis_client import ...`` only the module changes. The state
is made of the environment when it is first needed, or is one's own: `use_state`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from polly_state.cache import Cache
from polly_state.cache import CacheService as Tiers
from polly_state.compat.ambient import Ambient
from polly_state.compat.polly_client import RedisClient, done, known
from polly_state.errors import StateError
from polly_state.state import PollyState

__all__ = [
    "CacheService",
    "close_redis_client",
    "get_cache_service",
    "get_redis_client",
    "health",
    "use_state",
]

#: By the name that Polly's documentation gives it.
_log = logging.getLogger("polly.cache_service")

Tier = Callable[[Tiers], Cache[object]]


def use_state(state: PollyState) -> None:
    """Let the functions below use a *state* of one's own, which is entered and closed elsewhere, on this event loop."""
    Ambient(state).use()


async def get_redis_client() -> RedisClient:
    """The client of this event loop, connected or not. Raises `ConfigurationError`."""
    await Ambient.current().started()
    return RedisClient()


async def close_redis_client() -> None:
    """Close what `get_redis_client` and `get_cache_service` have opened on this event loop."""
    await Ambient.current().aclose()


def get_cache_service() -> CacheService:
    """The cache service, of whichever event loop it is used on."""
    return CacheService()


async def health() -> dict[str, Any]:
    """What ``GET /health`` answers with: an outage of Redis is told, and does not make the application unhealthy."""
    redis = await get_cache_service().health_check()
    return {"status": "healthy", "timestamp": _now(), "redis": redis}


class Put:
    """The method that caches something in a tier; False if it could not be kept."""

    def __init__(self, tier: Tier) -> None:
        self._tier = tier

    def __get__(
        self, service: CacheService, owner: type | None = None
    ) -> Callable[[str | int, Any], Coroutine[Any, Any, bool]]:
        async def cache(id: str | int, value: Any) -> bool:
            tier = await service.tier(self._tier)
            return await done(_log, tier.set(id, value))

        return cache


class Got:
    """The method that gives what is cached in a tier, or None."""

    def __init__(self, tier: Tier) -> None:
        self._tier = tier

    def __get__(
        self, service: CacheService, owner: type | None = None
    ) -> Callable[[str | int], Coroutine[Any, Any, Any]]:
        async def get_cached(id: str | int) -> Any:
            tier = await service.tier(self._tier)
            return await known(_log, tier.get(id), None)

        return get_cached


class Dropped:
    """The method that invalidates what is cached in a tier; False if that could not even be noted for later."""

    def __init__(self, tier: Tier) -> None:
        self._tier = tier

    def __get__(
        self, service: CacheService, owner: type | None = None
    ) -> Callable[[str | int], Coroutine[Any, Any, bool]]:
        async def invalidate(id: str | int) -> bool:
            return await done(_log, (await service.tier(self._tier)).delete(id))

        return invalidate


class CacheService:
    """Caches by kind of thing. Ids are str or int; values what JSON gives back equal."""

    cache_user_preferences = Put(lambda tiers: tiers.user_preferences)
    get_cached_user_preferences = Got(lambda tiers: tiers.user_preferences)
    invalidate_user_preferences = Dropped(lambda tiers: tiers.user_preferences)
    cache_user_guilds = Put(lambda tiers: tiers.user_guilds)
    get_cached_user_guilds = Got(lambda tiers: tiers.user_guilds)
    invalidate_user_guilds = Dropped(lambda tiers: tiers.user_guilds)
    cache_guild_channels = Put(lambda tiers: tiers.guild_channels)
    get_cached_guild_channels = Got(lambda tiers: tiers.guild_channels)
    invalidate_guild_channels = Dropped(lambda tiers: tiers.guild_channels)
    cache_guild_roles = Put(lambda tiers: tiers.guild_roles)
    get_cached_guild_roles = Got(lambda tiers: tiers.guild_roles)
    invalidate_guild_roles = Dropped(lambda tiers: tiers.guild_roles)
    cache_guild_emojis = Put(lambda tiers: tiers.guild_emojis)
    get_cached_guild_emojis = Got(lambda tiers: tiers.guild_emojis)
    invalidate_guild_emojis = Dropped(lambda tiers: tiers.guild_emojis)
    cache_poll_results = Put(lambda tiers: tiers.poll_results)
    get_cached_poll_results = Got(lambda tiers: tiers.poll_results)
    invalidate_poll_results = Dropped(lambda tiers: tiers.poll_results)
    cache_user_stats = Put(lambda tiers: tiers.user_statistics)
    get_cached_user_stats = Got(lambda tiers: tiers.user_statistics)
    invalidate_user_stats = Dropped(lambda tiers: tiers.user_statistics)
    get_cached_session_data = Got(lambda tiers: tiers.form_sessions)
    invalidate_session_data = Dropped(lambda tiers: tiers.form_sessions)

    async def cache_session_data(self, session_id: str | int, data: Any, ttl: float | None = None) -> bool:
        """Cache the data of a session, for *ttl* seconds or 30 minutes."""
        return await done(_log, (await self.tier(lambda tiers: tiers.form_sessions)).set(session_id, data, ttl=ttl))

    async def invalidate_user_cache(self, user_id: str | int) -> int:
        """Invalidate all of a user; how many kinds of things that are, or 0 if it could not be noted."""
        return 4 * await done(_log, (await self._tiers()).invalidate_user(user_id))

    async def invalidate_guild_cache(self, guild_id: str | int) -> int:
        """Invalidate all of a guild; how many kinds of things that are, or 0 if it could not be noted."""
        return 4 * await done(_log, (await self._tiers()).invalidate_guild(guild_id))

    async def clear_all_cache(self) -> int:
        """Invalidate everything that is cached; how many kinds of things that are, or 0 if it could not be noted."""
        tiers = await self._tiers()
        return tiers.health().families * await done(_log, tiers.invalidate_all())

    async def health_check(self) -> dict[str, Any]:
        """Whether a value comes back, and Redis is there: ``status``, ``connected``, ``timestamp``, ``error``."""
        state = await Ambient.current().started()
        redis = state.health().redis_available
        try:
            probe = state.cache.family("polly.health", int, ttl=60)
            number = round(datetime.now(UTC).timestamp())
            await probe.set("check", number)
            working = await probe.get("check") == number and (redis or state.settings.embedded)
        except StateError as error:
            return {"status": "unhealthy", "connected": False, "timestamp": _now(), "error": type(error).__name__}
        found: dict[str, Any] = {"status": "healthy" if working else "unhealthy", "connected": redis}
        return {**found, "timestamp": _now(), **({} if working else {"error": "Redis is away"})}

    async def tier(self, tier: Tier) -> Cache[object]:
        """One of the caches underneath."""
        return tier(await self._tiers())

    async def _tiers(self) -> Tiers:
        return (await Ambient.current().started()).cache


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
