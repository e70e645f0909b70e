"""Who is measured, each as a good engineer would use it for the same job: typed values by id.

Every contestant is an async context manager over a server's URL, and gives a function that makes a
`Job` of a value: how it is got and set by id. Keys are made of the id on every call, and a get gives
an equal value of the same class. Clients that give back bytes get orjson and the class's constructor
put around them, caches their own fastest serializer. Peers are imported when they are opened.

ours          `state.map(name, Type)`: `get`, and `set`, which is a stamped durable write by script
redis_py      Redis over a BlockingConnectionPool of 16 connections, hiredis
coredis       Redis over its pool of 16 connections
valkey_glide  GlideClient, one multiplexed connection, in Rust
cashews       Cache over redis-py, 16 connections, its pickle, without `check_repr`
aiocache      RedisCache over redis-py, BlockingConnectionPool of 16, orjson as serializer
limit         `Bare`, a protocol that does nothing else; bytes in, bytes out
limit_typed   the same with orjson and the class around it
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple, TypeAlias

import orjson

from benchmarks.limit import Bare
from polly_state.testing.loopback import parse

__all__ = ["CONTESTANTS", "OURS", "PEERS", "Contestant", "Job", "Jobs"]

POOL = 16
OURS = "ours"


class Job(NamedTuple):
    """How one kind of value is got and set."""

    get: Callable[[str], Awaitable[Any]]
    set: Callable[[str, Any], Awaitable[Any]]
    value: Any
    """What is set, and what a get gives."""


Jobs: TypeAlias = Callable[[Any], Job]
Contestant: TypeAlias = Callable[[str], AbstractAsyncContextManager[Jobs]]


def around(client: Any, name: str, value: Any) -> Job:
    """The job of a client whose `get` gives bytes and whose `set` takes them."""
    declared = type(value)
    prefix = f"{name}:{declared.__name__}:"
    loads, dumps = orjson.loads, orjson.dumps

    async def get(user: str) -> Any:
        content = await client.get(f"{prefix}{user}")
        return None if content is None else declared(**loads(content))

    async def put(user: str, value: Any) -> None:
        await client.set(f"{prefix}{user}", dumps(value))

    return Job(get, put, value)


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Jobs]:
    from polly_state import PollyState, Settings

    async with PollyState(Settings.from_url(url, namespace="ours")) as state:

        def job(value: Any) -> Job:
            handle = state.map(type(value).__name__, type(value))
            return Job(handle.get, handle.set, value)

        yield job


@asynccontextmanager
async def redis_py(url: str) -> AsyncIterator[Jobs]:
    from redis.asyncio import BlockingConnectionPool, Redis

    pool = BlockingConnectionPool.from_url(url, max_connections=POOL)
    async with Redis.from_pool(pool) as client:
        yield lambda value: around(client, "redis_py", value)


@asynccontextmanager
async def coredis(url: str) -> AsyncIterator[Jobs]:
    from coredis import Redis

    async with Redis.from_url(url, max_connections=POOL) as client:
        yield lambda value: around(client, "coredis", value)


@asynccontextmanager
async def valkey_glide(url: str) -> AsyncIterator[Jobs]:
    from glide import GlideClient, GlideClientConfiguration, Logger, LogLevel, NodeAddress

    # It writes a line for every call that an outage costs it.
    Logger.set_logger_config(LogLevel.OFF)
    where = parse(url)
    nodes = [NodeAddress(where.host, where.port)]
    client = await GlideClient.create(GlideClientConfiguration(nodes))
    try:
        yield lambda value: around(client, "valkey_glide", value)
    finally:
        await client.close()


@asynccontextmanager
async def cashews(url: str) -> AsyncIterator[Jobs]:
    from cashews import Cache

    cache = Cache()
    cache.setup(url, max_connections=POOL, check_repr=False)
    await cache.init()

    def job(value: Any) -> Job:
        prefix = f"cashews:{type(value).__name__}:"

        async def get(user: str) -> Any:
            return await cache.get(f"{prefix}{user}")

        async def put(user: str, value: Any) -> None:
            await cache.set(f"{prefix}{user}", value)

        return Job(get, put, value)

    try:
        yield job
    finally:
        await cache.close()


@asynccontextmanager
async def aiocache(url: str) -> AsyncIterator[Jobs]:
    from aiocache import RedisCache
    from aiocache.serializers import BaseSerializer
    from redis.asyncio import BlockingConnectionPool

    class Typed(BaseSerializer):
        DEFAULT_ENCODING = None

        def __init__(self, declared: type) -> None:
            super().__init__()
            self._declared = declared

        def dumps(self, value: Any) -> bytes:
            return orjson.dumps(value)

        def loads(self, value: bytes | None) -> Any:
            return None if value is None else self._declared(**orjson.loads(value))

    where = parse(url)
    caches: list[RedisCache] = []

    def job(value: Any) -> Job:
        cache = RedisCache(
            serializer=Typed(type(value)),
            namespace=f"aiocache:{type(value).__name__}:",
            endpoint=where.host,
            port=where.port,
            pool_max_size=POOL,
            connection_pool_class=BlockingConnectionPool,
        )
        caches.append(cache)
        return Job(cache.get, cache.set, value)

    try:
        yield job
    finally:
        for cache in caches:
            await cache.close()


@asynccontextmanager
async def limit(url: str) -> AsyncIterator[Jobs]:
    async with bare(url) as call:

        def job(value: Any) -> Job:
            prefix = f"limit:{type(value).__name__}:"
            return Job(
                lambda user: call("GET", f"{prefix}{user}"),
                lambda user, content: call("SET", f"{prefix}{user}", content),
                orjson.dumps(value),
            )

        yield job


@asynccontextmanager
async def limit_typed(url: str) -> AsyncIterator[Jobs]:
    async with bare(url) as call:

        class Client:
            def get(self, key: str) -> Awaitable[Any]:
                return call("GET", key)

            def set(self, key: str, content: bytes) -> Awaitable[Any]:
                return call("SET", key, content)

        yield lambda value: around(Client(), "limit_typed", value)


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    where = parse(url)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(Bare, where.host, where.port)
    try:
        yield protocol.call
    finally:
        transport.close()


CONTESTANTS: dict[str, Contestant] = {
    contestant.__name__: contestant
    for contestant in (
        ours,
        redis_py,
        coredis,
        valkey_glide,
        cashews,
        aiocache,
        limit,
        limit_typed,
    )
}
PEERS = ("redis_py", "coredis", "valkey_glide", "cashews", "aiocache")
