"""The Redis client of Polly, by its documented names, over typed state."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from polly_state.compat.ambient import Ambient
from polly_state.errors import ConfigurationError, StateError, UnsupportedValue
from polly_state.events import Mode

__all__ = ["RedisClient", "done", "known"]

T = TypeVar("T")
D = TypeVar("D")

#: By the name that Polly's documentation gives it.
_log = logging.getLogger("polly.redis_client")
FAMILY, HASHES, LISTS = "polly", "polly.hashes", "polly.lists"
MISSING, FOREVER = -2, -1


class RedisClient:
    """Values, hashes and lists under texts of one's own. What cannot be known in an outage is given as the default.

    Writes in an outage are kept and replayed, and count as done. Values come back equal and of the same type, or
    `UnsupportedValue` is raised; a wrong password raises too. After `disconnect` it connects again when it is used.
    """

    @property
    def is_connected(self) -> bool:
        """Whether commands are answered by Redis now, or by the local store if none is configured."""
        ambient = Ambient.there()
        return ambient is not None and ambient.state.mode in (Mode.CONNECTED, Mode.EMBEDDED, Mode.RECOVERING)

    async def connect(self) -> bool:
        """Connect; False if Redis is away, which it need not stay."""
        await Ambient.current().started()
        return self.is_connected

    async def disconnect(self) -> None:
        """Close it."""
        await Ambient.current().aclose()

    async def set(self, key: str, value: Any, ttl: float | None = None) -> bool:
        """Put a value, for *ttl* seconds if that is given. Raises `ValueError` for a ttl that is not above 0."""
        return await done(_log, (await self._values()).set(key, value, ttl=ttl))

    async def get(self, key: str, default: Any = None) -> Any:
        """The value, or *default*."""
        found = await known(_log, (await self._values()).get(key), None)
        return default if found is None else found

    async def delete(self, *keys: str) -> int:
        """Let there be no values; how many there were, as far as is known."""
        values = await self._values()
        there: dict[str, Any] = await known(_log, values.get_many(keys), {})
        gone = [key for key in keys if await done(_log, values.delete(key))]
        return len(there.keys() & set(gone))

    async def exists(self, key: str) -> bool:
        """Whether there is a value."""
        return await self.get(key) is not None

    async def expire(self, key: str, ttl: float) -> bool:
        """Let a value live *ttl* seconds from now; False if there is none."""
        return await known(_log, (await self._values()).expire(key, ttl), default=False)

    async def ttl(self, key: str) -> int:
        """Whole seconds that a value has left; -1 if it stays, -2 if there is none or nothing is known."""
        if not await self.exists(key):
            return MISSING
        left = await known(_log, (await self._values()).time_to_live(key), FOREVER)
        return FOREVER if left is None else round(left)

    async def hset(self, name: str, mapping: Mapping[str, Any]) -> int:
        """Set fields of a hash; how many are new, as far as is known."""
        fields = await self._fields()
        held: dict[str, Any] = await known(_log, fields.all(name), {})
        kept = await done(_log, fields.patch(name, dict(mapping)))
        return len(mapping.keys() - held.keys()) if kept else 0

    async def hget(self, name: str, key: str) -> Any:
        """One field of a hash, or None."""
        return await known(_log, (await self._fields()).get(name, key), None)

    async def hgetall(self, name: str) -> dict[str, Any]:
        """All fields of a hash."""
        return await known(_log, (await self._fields()).all(name), {})

    async def hdel(self, name: str, *keys: str) -> int:
        """Drop fields of a hash; how many there were, as far as is known."""
        held, fields = await self.hgetall(name), await self._fields()
        gone = [key for key in keys if await done(_log, fields.delete(name, key))]
        return len(held.keys() & set(gone))

    async def lpush(self, name: str, *values: Any) -> int:
        """Put values before all others of a list, the last one first; its new length."""
        return await self._changed(name, lambda held: [*reversed(values), *held])

    async def rpush(self, name: str, *values: Any) -> int:
        """Put values after all others of a list; its new length."""
        return await self._changed(name, lambda held: [*held, *values])

    async def lrange(self, name: str, start: int = 0, end: int = -1) -> list[Any]:
        """The part of a list from *start* to *end*, both included; negative ones count from its end."""
        held = await known(_log, (await self._lists()).get(name), None) or []
        first = max(0, start + len(held)) if start < 0 else start
        return held[first : len(held) + end + 1 if end < 0 else end + 1]

    async def llen(self, name: str) -> int:
        """How long a list is."""
        return len(await self.lrange(name))

    async def cache_set(self, key: str, value: Any, ttl: float = 3600) -> bool:
        """Cache a value."""
        return await done(_log, (await self._cache()).set(key, value, ttl=ttl))

    async def cache_get(self, key: str, default: Any = None) -> Any:
        """A cached value, which may be None, or *default*."""
        found = await known(_log, (await self._cache()).read(key), None)
        return default if found is None or not found.hit or found.stale else found.value

    async def cache_delete(self, key: str) -> bool:
        """Drop a cached value."""
        return await done(_log, (await self._cache()).delete(key))

    async def _changed(self, name: str, change: Any) -> int:
        return await known(_log, self._swapped(name, change), 0)

    async def _swapped(self, name: str, change: Any) -> int:
        lists = await self._lists()
        while True:
            held = await lists.get(name)
            new = change(held or [])
            put = lists.create(name, new) if held is None else lists.swap(name, held, new)
            if await put:
                return len(new)

    async def _values(self) -> Any:
        return (await Ambient.current().started()).map(FAMILY)

    async def _fields(self) -> Any:
        return (await Ambient.current().started()).fields(HASHES)

    async def _lists(self) -> Any:
        return (await Ambient.current().started()).map(LISTS, list)

    async def _cache(self) -> Any:
        return (await Ambient.current().started()).cache.family(FAMILY, ttl=3600)


async def known(log: logging.Logger, asked: Awaitable[T], default: D) -> T | D:
    """What is *asked*, or a default if it cannot be known; the log is told of either."""
    name = getattr(asked, "__qualname__", "")
    try:
        found = await asked
    except (ConfigurationError, UnsupportedValue):
        raise
    except StateError as error:
        log.warning("%s: answered with a default: %s", name, error)
        return default
    log.debug("%s: answered", name)
    return found


async def done(log: logging.Logger, write: Awaitable[object]) -> bool:
    """Whether something could be written, here at least; the log is told of it."""
    name = getattr(write, "__qualname__", "")
    try:
        await write
    except (ConfigurationError, UnsupportedValue):
        raise
    except StateError as error:
        log.warning("%s: not written: %s", name, error)
        return False
    log.debug("%s: written", name)
    return True
