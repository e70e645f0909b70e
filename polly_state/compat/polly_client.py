"""The Redis client of Polly, by its documented names, over typed state."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from polly_state.compat.ambient import Ambient
from polly_state.errors import ConfigurationError, StateError, UnsupportedValue
from polly_state.events import Mode

__all__ = ["RedisClient"]

T = TypeVar("T")
D = TypeVar("D")

_log = logging.getLogger("polly_state")
FAMILY, HASHES, LISTS = "polly", "polly.hashes", "polly.lists"
MISSING, FOREVER = -2, -1


class RedisClient:
    """Values, hashes and lists under texts of one's own. What cannot be known in an outage is given as the default.

    Writes in an outage are kept and replayed, and count as done. Values come back equal and of the same type, or
    `UnsupportedValue` is raised; a wrong password raises too.
    """

    def __init__(self, ambient: Ambient) -> None:
        self._ambient = ambient

    @property
    def is_connected(self) -> bool:
        """Whether commands are answered by Redis now, or by the local store if none is configured."""
        return self._ambient.state.mode in (Mode.CONNECTED, Mode.EMBEDDED, Mode.RECOVERING)

    async def connect(self) -> bool:
        """Connect; False if Redis is away, which it need not stay."""
        await self._ambient.started()
        return self.is_connected

    async def disconnect(self) -> None:
        """Close it."""
        await self._ambient.aclose()

    async def set(self, key: str, value: Any, ttl: float | None = None) -> bool:
        """Put a value, for *ttl* seconds if that is given. Raises `ValueError` for a ttl that is not above 0."""
        return await _done((await self._values()).set(key, value, ttl=ttl))

    async def get(self, key: str, default: Any = None) -> Any:
        """The value, or *default*."""
        found = await _known((await self._values()).get(key), None)
        return default if found is None else found

    async def delete(self, *keys: str) -> int:
        """Let there be no values; how many there were, as far as is known."""
        values = await self._values()
        there: dict[str, Any] = await _known(values.get_many(keys), {})
        for key in keys:
            await _done(values.delete(key))
        return len(there)

    async def exists(self, key: str) -> bool:
        """Whether there is a value."""
        return await self.get(key) is not None

    async def expire(self, key: str, ttl: float) -> bool:
        """Let a value live *ttl* seconds from now; False if there is none."""
        return await _known((await self._values()).expire(key, ttl), default=False)

    async def ttl(self, key: str) -> int:
        """Whole seconds that a value has left; -1 if it stays, -2 if there is none or nothing is known."""
        if not await self.exists(key):
            return MISSING
        left = await _known((await self._values()).time_to_live(key), FOREVER)
        return FOREVER if left is None else round(left)

    async def hset(self, name: str, mapping: Mapping[str, Any]) -> int:
        """Set fields of a hash; how many are new, as far as is known."""
        fields = await self._fields()
        held: dict[str, Any] = await _known(fields.all(name), {})
        done = await _done(fields.patch(name, dict(mapping)))
        return len(mapping.keys() - held.keys()) if done else 0

    async def hget(self, name: str, key: str) -> Any:
        """One field of a hash, or None."""
        return await _known((await self._fields()).get(name, key), None)

    async def hgetall(self, name: str) -> dict[str, Any]:
        """All fields of a hash."""
        return await _known((await self._fields()).all(name), {})

    async def hdel(self, name: str, *keys: str) -> int:
        """Drop fields of a hash; how many there were, as far as is known."""
        held = await self.hgetall(name)
        for key in keys:
            await _done((await self._fields()).delete(name, key))
        return len(held.keys() & set(keys))

    async def lpush(self, name: str, *values: Any) -> int:
        """Put values before all others of a list, the last one first; its new length."""
        return await self._changed(name, lambda held: [*reversed(values), *held])

    async def rpush(self, name: str, *values: Any) -> int:
        """Put values after all others of a list; its new length."""
        return await self._changed(name, lambda held: [*held, *values])

    async def lrange(self, name: str, start: int = 0, end: int = -1) -> list[Any]:
        """The part of a list from *start* to *end*, both included; negative ones count from its end."""
        held = await _known((await self._lists()).get(name), None) or []
        first = max(0, start + len(held)) if start < 0 else start
        return held[first : len(held) + end + 1 if end < 0 else end + 1]

    async def llen(self, name: str) -> int:
        """How long a list is."""
        return len(await self.lrange(name))

    async def cache_set(self, key: str, value: Any, ttl: float = 3600) -> bool:
        """Cache a value."""
        return await _done((await self._cache()).set(key, value, ttl=ttl))

    async def cache_get(self, key: str, default: Any = None) -> Any:
        """A cached value, which may be None, or *default*."""
        found = await (await self._cache()).read(key)
        return found.value if found.hit and not found.stale else default

    async def cache_delete(self, key: str) -> bool:
        """Drop a cached value."""
        return await _done((await self._cache()).delete(key))

    async def _changed(self, name: str, change: Any) -> int:
        lists = await self._lists()
        while True:
            held = await lists.get(name)
            new = change(held or [])
            done = await (lists.create(name, new) if held is None else lists.swap(name, held, new))
            if done:
                return len(new)

    async def _values(self) -> Any:
        return (await self._ambient.started()).map(FAMILY)

    async def _fields(self) -> Any:
        return (await self._ambient.started()).fields(HASHES)

    async def _lists(self) -> Any:
        return (await self._ambient.started()).map(LISTS, list)

    async def _cache(self) -> Any:
        return (await self._ambient.started()).cache.family(FAMILY, ttl=3600)


async def _known(asked: Awaitable[T], default: D) -> T | D:
    try:
        return await asked
    except (ConfigurationError, UnsupportedValue):
        raise
    except StateError as error:
        _log.warning("answered with a default: %s", error)
        return default


async def _done(write: Awaitable[object]) -> bool:
    try:
        await write
    except (ConfigurationError, UnsupportedValue):
        raise
    except StateError as error:
        _log.warning("not written: %s", error)
        return False
    return True
