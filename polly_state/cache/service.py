"""The cache service: the tiers a bot needs, families of one's own, and what concerns several of them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, overload

from polly_state.cache.decorator import CachedFunction, Template, check_function, result_type
from polly_state.cache.family import Cache
from polly_state.cache.looks import wanted_of
from polly_state.cache.markers import Markers
from polly_state.cache.shared import Shared
from polly_state.cache.statistics import CacheStatistics, Tally
from polly_state.errors import ConfigurationError
from polly_state.events import Observer
from polly_state.lifetime import Lifetime
from polly_state.settings import Settings
from polly_state.store import Ack, Store
from polly_state.store.channels import Channels
from polly_state.structures import Id, Ttl, seconds

if TYPE_CHECKING:
    from polly_state.near import Near

__all__ = ["CacheHealth", "CacheService"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
POLL = {"active": 10.0, "scheduled": 10.0, "closed": 7 * DAY}


class CacheHealth(NamedTuple):
    """How the whole cache is, in this process."""

    families: int
    loading: int
    """Loads that run now."""
    hit_rate: float
    load_errors: int


class CacheService:
    """Values that can be computed again, in families; each tier below is a family with a lifetime of its own.

    The tiers hold what JSON gives back equal; `Cache.of` gives a handle for values of a declared type.
    """

    def __init__(self, store: Store, settings: Settings, observe: Observer) -> None:
        self._shared = Shared(
            namespace=settings.namespace,
            store=store,
            markers=Markers(store, settings.namespace),
            observe=observe,
            max_value_bytes=settings.bounds.value_bytes,
        )
        self._lifetimes = settings.cache
        self._families: dict[str, tuple[tuple[Any, ...], Cache[Any]]] = {}
        self.user_preferences = self.family("user_preferences", ttl=30 * MINUTE)
        self.user_guilds = self.family("user_guilds", ttl=10 * MINUTE)
        self.user_statistics = self.family("user_statistics", ttl=HOUR)
        self.discord_users = self.family("discord_users", ttl=30 * MINUTE)
        self.guilds = self.family("guilds", ttl=30 * MINUTE)
        self.guild_channels = self.family("guild_channels", ttl=10 * MINUTE)
        self.guild_roles = self.family("guild_roles", ttl=10 * MINUTE)
        self.guild_emojis = self.family("guild_emojis", ttl=10 * MINUTE)
        polls = Lifetime(ttl=5 * MINUTE, statuses=POLL, status_field="poll_status")
        self.poll_results = self.family("poll_results", lifetime=polls)
        self.poll_dashboards = self.family("poll_dashboards", lifetime=replace(polls, ttl=10.0))
        self.form_sessions = self.family("form_sessions", lifetime=Lifetime(ttl=30 * MINUTE, stale=0.0))

    @overload
    def family(
        self, name: str, *, ttl: Ttl | None = None, lifetime: Lifetime | None = None, dictionary: bytes | None = None
    ) -> Cache[object]: ...

    @overload
    def family(
        self,
        name: str,
        declared: type[T],
        *,
        ttl: Ttl | None = None,
        lifetime: Lifetime | None = None,
        dictionary: bytes | None = None,
    ) -> Cache[T]: ...

    def family(
        self,
        name: str,
        declared: Any = object,
        *,
        ttl: Ttl | None = None,
        lifetime: Lifetime | None = None,
        dictionary: bytes | None = None,
    ) -> Cache[Any]:
        """A family of one's own, for a *ttl* or a whole *lifetime*; `Settings.cache` may give it another one.

        Values are packed with a *dictionary* that `train_dictionary` has made, the same in all processes: what was
        packed with another one is a miss.

        Raises:
            TypeError: Values of the type cannot be stored, or not just one of ttl and lifetime is given.
            ValueError: The name is taken by a family with another type, lifetime or dictionary, the ttl is out of
                bounds, or the dictionary is none.
            ConfigurationError: The lifetime is over 30 days, or is none.
        """
        ttl = seconds(ttl)
        if ttl is not None and lifetime is not None:
            raise TypeError(f"the family {name!r} has a ttl or a lifetime, not both")
        lifetime = self._lifetimes.get(name, lifetime)
        if lifetime is None:
            if ttl is None:
                raise TypeError(f"the family {name!r} needs a ttl or a lifetime")
            lifetime = Lifetime(ttl=ttl)
        _check_lifetime(name, lifetime)
        held = self._families.get(name)
        if held is None:
            cache: Cache[Any] = Cache(self._shared, name, declared, lifetime, Tally(), dictionary=dictionary)
            held = self._families[name] = ((declared, lifetime, dictionary), cache)
        if held[0] != (declared, lifetime, dictionary):
            raise ValueError(f"the family {name!r} exists already with another type, lifetime or dictionary")
        return held[1]

    def cached(
        self, key: str, *, ttl: Ttl | None = None, lifetime: Lifetime | None = None, tags: Iterable[str] = ()
    ) -> Callable[[Callable[P, Awaitable[R]]], CachedFunction[P, R]]:
        """Cache the results of a function, whose annotation says of which type they are.

        Args:
            key: Begins with the name of a family, then names parameters, as in ``"leaderboard:{guild_id}"``.
            ttl: For how long a result is fresh.
            lifetime: In place of *ttl*, see `family`.
            tags: By which results can be invalidated; they may name parameters too.

        Arguments that are named are str, int, bool or None. Raises as `family` does, `ValueError` for names that are
        no parameters, and `TypeError` for what is no async function.
        """
        several = wanted_of(None, tags).tags

        def decorate(function: Callable[P, Awaitable[R]]) -> CachedFunction[P, R]:
            check_function(function)
            signature = inspect.signature(function)
            template = Template(key, signature)
            family = self.family(template.family, result_type(function), ttl=ttl, lifetime=lifetime)
            return CachedFunction(function, family, template, [Template(tag, signature) for tag in several])

        return decorate

    async def invalidate_user(self, user_id: Id) -> Ack:
        """Let there be nothing of a user in the tiers, nor with the tag ``user:<id>``."""
        tiers = (self.user_preferences, self.user_guilds, self.user_statistics, self.discord_users)
        return await self._invalidate(tiers, user_id, "user")

    async def invalidate_guild(self, guild_id: Id) -> Ack:
        """Let there be nothing of a guild in the tiers, nor with the tag ``guild:<id>``."""
        tiers = (self.guilds, self.guild_channels, self.guild_roles, self.guild_emojis)
        return await self._invalidate(tiers, guild_id, "guild")

    async def invalidate_poll(self, poll_id: Id) -> Ack:
        """Let there be nothing of a poll in the tiers, nor with the tag ``poll:<id>``."""
        return await self._invalidate((self.poll_results, self.poll_dashboards), poll_id, "poll")

    async def invalidate_tag(self, tag: str) -> Ack:
        """Let there be nothing with this tag, in one write however much there is."""
        return await self._shared.markers.mark_tag(tag)

    async def invalidate_all(self) -> Ack:
        """Let there be nothing in any family, in one write."""
        return await self._shared.markers.mark_families()

    def statistics(self) -> dict[str, CacheStatistics]:
        """How the families have fared so far, in this process, by name."""
        return {name: cache.statistics() for name, (_, cache) in self._families.items()}

    def health(self) -> CacheHealth:
        """How the whole cache is, in this process; asks nobody."""
        found = self.statistics().values()
        hits, misses = sum(each.hits for each in found), sum(each.misses for each in found)
        rate = hits / (hits + misses) if hits + misses else 0.0
        return CacheHealth(len(found), len(self._shared.flights), rate, sum(each.load_errors for each in found))

    def open(self, channels: Channels, near: Near | None = None) -> None:
        """Hear of other processes' loads on *channels*, and keep values *near*."""
        self._shared.channels = channels
        self._shared.near = near
        self._shared.markers.attend(near)

    async def aclose(self) -> None:
        """End all loads."""
        await self._shared.flights.aclose()
        await self._shared.markers.aclose()

    async def _invalidate(self, tiers: Iterable[Cache[Any]], id: Id, group: str) -> Ack:
        tag = f"{group}:{':'.join(map(str, id)) if isinstance(id, tuple) else id}"
        writes = (self.invalidate_tag(tag), *(tier.delete(id) for tier in tiers))
        acks: list[Ack] = []
        # One that fails keeps none of the others from being done, nor is any left behind.
        for outcome in await asyncio.gather(*writes, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
            acks.append(outcome)
        return min(acks)


def _check_lifetime(name: str, lifetime: object) -> None:
    if not isinstance(lifetime, Lifetime):
        raise ConfigurationError(f"cache.{name}: must be a Lifetime")
