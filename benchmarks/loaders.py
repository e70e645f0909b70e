"""Who takes part in the benchmarks of caches, each as a good engineer would use it for the same job.

Every contestant is an async context manager over a server's URL, and gives a `get_or_load(user, load)` that returns an
equal value of the same class, cached for ten minutes, and an `invalidate` of a tag where it has tags.

ours      `get_or_load` of a family with `Lifetime(ttl=600, near=False)`: the value comes from Redis each time, which
          tells of invalidations
ours_deaf the same with `near=False` for the whole state: what was invalidated is asked for as well
ours_near the same as it comes, with values that Redis vouches for in process
by_hand   redis-py over 16 connections: GET, else load and SET, with orjson and the class around it
cashews   `cache.get_or_set` over redis-py, 16 connections, its pickle, without `check_repr`
aiocache  the `cached` decorator with a `RedisCache` over redis-py, BlockingConnectionPool of 16, orjson as serializer
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, TypeAlias

import orjson

from benchmarks.contestants import POOL
from polly_state.testing.loopback import parse

__all__ = ["CACHES", "GetOrLoad", "opened"]

Load: TypeAlias = Callable[[str], Awaitable[Any]]
GetOrLoad: TypeAlias = Callable[[str], Awaitable[Any]]
TTL = 600


@asynccontextmanager
async def ours(url: str, declared: type, load: Load) -> AsyncIterator[GetOrLoad]:
    from polly_state import PollyState, Settings

    async with PollyState(Settings.from_url(url, namespace="ours")) as state:
        yield _get(state, declared, load, near=False)


@asynccontextmanager
async def ours_deaf(url: str, declared: type, load: Load) -> AsyncIterator[GetOrLoad]:
    from polly_state import PollyState, Settings

    settings = replace(Settings.from_url(url, namespace="ours_deaf"), near=False)
    async with PollyState(settings) as state:
        yield _get(state, declared, load)


@asynccontextmanager
async def ours_near(url: str, declared: type, load: Load) -> AsyncIterator[GetOrLoad]:
    from polly_state import PollyState, Settings

    async with PollyState(Settings.from_url(url, namespace="ours_near")) as state:
        yield _get(state, declared, load)


def _get(state: Any, declared: type, load: Load, *, near: bool = True) -> GetOrLoad:
    from polly_state import Lifetime

    family = state.cache.family("profile", declared, lifetime=Lifetime(ttl=TTL, near=near))

    async def get(user: str) -> Any:
        return await family.get_or_load(user, load)

    return get


@asynccontextmanager
async def by_hand(url: str, declared: type, load: Load) -> AsyncIterator[GetOrLoad]:
    from redis.asyncio import BlockingConnectionPool, Redis

    pool = BlockingConnectionPool.from_url(url, max_connections=POOL)
    async with Redis.from_pool(pool) as client:

        async def get(user: str) -> Any:
            content = await client.get(f"by_hand:{user}")
            if content is not None:
                return declared(**orjson.loads(content))
            value = await load(user)
            await client.set(f"by_hand:{user}", orjson.dumps(value), ex=TTL)
            return value

        yield get


@asynccontextmanager
async def cashews(url: str, _: type, load: Load) -> AsyncIterator[GetOrLoad]:
    from cashews import Cache

    cache = Cache()
    cache.setup(url, max_connections=POOL, check_repr=False)
    await cache.init()

    async def get(user: str) -> Any:
        async def default() -> Any:
            return await load(user)

        return await cache.get_or_set(f"cashews:{user}", default, expire=TTL)

    try:
        yield get
    finally:
        await cache.close()


@asynccontextmanager
async def aiocache(url: str, declared: type, load: Load) -> AsyncIterator[GetOrLoad]:
    from aiocache import RedisCache, cached
    from aiocache.serializers import BaseSerializer
    from redis.asyncio import BlockingConnectionPool

    class Typed(BaseSerializer):
        DEFAULT_ENCODING = None

        def dumps(self, value: Any) -> bytes:
            return orjson.dumps(value)

        def loads(self, value: bytes | None) -> Any:
            return None if value is None else declared(**orjson.loads(value))

    where = parse(url)
    # The decorator makes its cache itself, of these.
    decorate = cached(
        ttl=TTL,
        cache=RedisCache,
        key_builder=lambda _, user: f"aiocache:{user}",
        serializer=Typed(),
        endpoint=where.host,
        port=where.port,
        pool_max_size=POOL,
        connection_pool_class=BlockingConnectionPool,
    )
    get = decorate(load)
    try:
        yield get
    finally:
        await get.cache.close()


CACHES: dict[str, Callable[[str, type, Load], AbstractAsyncContextManager[GetOrLoad]]] = {
    each.__name__: each for each in (ours, ours_deaf, ours_near, by_hand, cashews, aiocache)
}


@asynccontextmanager
async def opened(url: str, declared: type, load: Load, skipped: dict[str, str]) -> AsyncIterator[dict[str, GetOrLoad]]:
    """The contestants that can be opened and give back what was loaded; others are named in *skipped*."""
    found: dict[str, GetOrLoad] = {}
    async with AsyncExitStack() as stack:
        for name, open_ in CACHES.items():
            try:
                get = await stack.enter_async_context(open_(url, declared, load))
                await _proven(get, await load("proof"))
            except Exception as error:
                if name.startswith("ours"):
                    raise
                skipped[name] = f"{type(error).__name__}: {error}"
            else:
                found[name] = get
        yield found


async def _proven(get: GetOrLoad, expected: Any) -> None:
    for _ in range(2):
        value = await get("proof")
        if type(value) is not type(expected) or value != expected:
            raise ValueError(f"it gave back a {type(value).__name__}")
