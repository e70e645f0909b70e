"""The stores that every command must work on, each with a way to let time pass in it."""

from __future__ import annotations

import asyncio
import secrets
import threading
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import redis
from fakeredis import TcpFakeServer
from fakeredis._clients._tcp_server import TCPFakeRequestHandler
from fakeredis._helpers import SimpleError

from polly_state import Deadlines, Settings
from polly_state.cluster import Audience, Cluster
from polly_state.connection import ConnectionManager
from polly_state.keyspace import Keyspace
from polly_state.stamps import HybridClock, time_of
from polly_state.store import LocalStore
from polly_state.store.redis import RedisStore
from polly_state.testing import Clock

KINDS = ("local", "fakeredis", "valkey", "redis", "cluster")
PATIENCE = 20.0
SLACK = 0.02


class Bench:
    """A store under test. Keys are of a namespace of its own, so that tests share servers."""

    def __init__(self, store):
        self.store = store
        self.clock = store.clock
        self.stamp = store.clock.stamp
        self._namespace = secrets.token_hex(4)

    def key(self, name="k"):
        return f"{self._namespace}:t:{{{name}}}"

    async def do(self, command):
        return (await self.store.execute(command)).value


class LocalBench(Bench):
    def __init__(self, **bounds):
        self.time = Clock()
        self.keyspace = Keyspace(clock=self.time, **bounds)
        super().__init__(LocalStore(self.keyspace, HybridClock(wall=self.time, monotonic=self.time)))

    async def attempt(self, command):
        return command.apply(self.keyspace)

    async def lapse(self, seconds):
        self.time.advance(seconds)


class RedisBench(Bench):
    def __init__(self, connection, clock):
        self.connection = connection
        super().__init__(RedisStore(connection, clock))
        self.attempt = self.store.attempt

    async def ask(self, *words):
        return await self.connection.send(words)

    async def lapse(self, seconds):
        # Stamps may be ahead of the server, and expiry is decided in whole milliseconds of its clock.
        due = max(await self._now(), time_of(self.stamp())) + seconds + SLACK
        async with asyncio.timeout(seconds + PATIENCE):
            while await self._now() < due:
                await asyncio.sleep(min(seconds, 0.005))

    async def _now(self):
        whole, micro = await self.ask("TIME")
        return int(whole) + int(micro) / 1e6


class Alone(Audience):
    """Nobody who is told of servers."""


@asynccontextmanager
async def connected(url):
    settings = replace(Settings.from_url(url), deadlines=Deadlines(operation=PATIENCE, connect=PATIENCE))
    clock = HybridClock()
    if settings.address.cluster:
        connection = Cluster(settings.address, settings, clock=clock, observe=lambda _: None)
        await connection.start(Alone())
    else:
        connection = ConnectionManager(settings.address, settings, clock=clock, observe=lambda _: None)
        await connection.start()
    try:
        yield RedisBench(connection, clock)
    finally:
        await connection.aclose()


class Kept:
    """A client of fakeredis whose error replies are replies, as they are on a wire.

    Its TCP server ends the connection with each of them, and writes ERR before codes of scripts.
    """

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        return getattr(self._client, name)

    def read_response(self):
        try:
            return self._client.read_response()
        except redis.exceptions.NoScriptError as error:
            return SimpleError(f"NOSCRIPT {error}")
        except redis.ResponseError as error:
            code = str(error).partition(" ")[0]
            return SimpleError(str(error) if code.isupper() and len(code) > 2 else f"ERR {error}")


class KeptHandler(TCPFakeRequestHandler):
    def setup(self):
        super().setup()
        self.current_client = Kept(self.current_client)


class Fake:
    """fakeredis as a server that our own connection reaches over TCP."""

    def __init__(self):
        self._server = TcpFakeServer(("127.0.0.1", 0))
        self._server.RequestHandlerClass = KeptHandler
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        self.url = f"redis://127.0.0.1:{self._server.server_address[1]}/0"

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


@pytest.fixture(scope="session")
def fakeredis_server():
    fake = Fake()
    yield fake
    fake.stop()


# Servers start before there is an event loop that they could block.
@pytest.fixture(params=KINDS)
def store_url(request):
    return server_url(request)


@pytest.fixture(params=KINDS[1:])
def redis_url(request):
    return server_url(request)


def server_url(request):
    if request.param == "local":
        return None
    return request.getfixturevalue(f"{request.param}_server").url


@pytest.fixture
async def store(store_url):
    if store_url is None:
        yield LocalBench()
        return
    async with connected(store_url) as bench:
        yield bench


@pytest.fixture
async def redis_store(redis_url):
    async with connected(redis_url) as bench:
        yield bench


@pytest.fixture
def local():
    return LocalBench()
