"""Every documented sample of Polly runs after changing only the import, with a Redis and without."""

from __future__ import annotations

import ast
import asyncio
import logging
import re
import secrets
from contextlib import contextmanager
from pathlib import Path

import pytest

from polly_state import Address, BreakerSettings, ConfigurationError, Mode, PollyState, UnsupportedValue
from polly_state.compat.polly import (
    CacheService,
    close_redis_client,
    get_cache_service,
    get_redis_client,
    health,
    use_state,
)
from polly_state.testing import Server
from tests.outages import in_thread, state_at, until

SEED = Path(__file__).parents[3] / "shared" / "seeds" / "polly.md"
SAMPLE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
IMPORT = re.compile(r"from polly\.(redis_client|cache_service) import")


def samples():
    text = SEED.read_text() if SEED.exists() else ""
    return [
        pytest.param(found[1], id=f"line{text.count(chr(10), 0, found.start())}") for found in SAMPLE.finditer(text)
    ]


@pytest.fixture(params=[None, "server"])
def environment(request, monkeypatch):
    for name in ("REDIS_URL", "VALKEY_URL", "REDIS_HOST", "POLLY_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("POLLY_STATE_NAMESPACE", secrets.token_hex(4))
    if request.param is not None:
        monkeypatch.setenv("REDIS_URL", request.getfixturevalue("server").url)
    return request.param


@pytest.mark.blocking
@pytest.mark.parametrize("source", samples())
def test_a_sample_runs_after_changing_only_the_import(source, environment, caplog):
    code = compile(
        IMPORT.sub("from polly_state.compat.polly import", source),
        "polly.md",
        "exec",
        ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        dont_inherit=True,
    )
    names = {"__name__": "__main__"}

    async def run():
        coroutine = eval(code, names)  # noqa: S307 - it is a page of documentation
        if coroutine is not None:
            await coroutine
        # What the samples delete and invalidate at their end is gone.
        assert await (await get_redis_client()).get("key") is None
        assert await get_cache_service().get_cached_user_preferences("user_id") is None
        await close_redis_client()

    with restored("polly.redis_client", "polly.cache_service"):
        asyncio.run(run())
    outcomes = {
        "value": lambda value: value == {"data": "value"},
        "cached_prefs": lambda found: found == names["user_prefs"],
        "health_status": lambda found: found["status"] == "healthy",
        "logging": lambda _: (
            {record.name for record in caplog.records} >= {"polly.redis_client", "polly.cache_service"}
        ),
    }
    # Each sample has an outcome, and it is the documented one.
    assert [outcomes[name](names[name]) for name in outcomes if name in names] == [True]


@contextmanager
def restored(*names):
    loggers = [logging.getLogger(name) for name in names]
    levels = [each.level for each in loggers]
    yield
    for each, level in zip(loggers, levels, strict=True):
        each.setLevel(level)


@pytest.mark.skipif(not SEED.exists(), reason="the page is not there")
def test_there_are_samples():
    assert len(samples()) == SEED.read_text().count("```python") == 4


async def test_the_documented_variables_will_do(server, monkeypatch):
    address = Address.parse(server.url)
    for name, value in {
        "REDIS_URL": server.url,
        "REDIS_HOST": "localhost",
        "REDIS_PORT": str(address.port),
        "REDIS_DB": "0",
        "REDIS_PASSWORD": "",
        "POLLY_STATE_NAMESPACE": secrets.token_hex(4),
    }.items():
        monkeypatch.setenv(name, value)
    assert (await get_redis_client()).is_connected
    await close_redis_client()


async def test_a_client_that_was_disconnected_connects_again(client):
    service = get_cache_service()
    for again in (client.connect, lambda: client.set("key", 1), lambda: service.cache_user_preferences(1, {})):
        await client.disconnect()
        assert not client.is_connected
        assert await again()
    await close_redis_client()
    assert await service.get_cached_user_preferences(1) in ({}, None)


def test_a_service_can_be_had_before_there_is_an_event_loop(environment):
    service = get_cache_service()

    async def run():
        assert await service.cache_user_preferences(1, {"a": 1})
        assert await service.get_cached_user_preferences(1) == {"a": 1}
        await close_redis_client()

    for _ in range(2):
        asyncio.run(run())


@pytest.mark.blocking
async def test_a_start_that_failed_is_tried_anew(binary, monkeypatch):
    with Server(binary, password="right") as server:
        monkeypatch.setenv("REDIS_URL", server.url.replace("right", "wrong"))
        with pytest.raises(ConfigurationError):
            await get_redis_client()
        monkeypatch.setenv("REDIS_URL", server.url)
        assert (await get_redis_client()).is_connected
        await close_redis_client()


@pytest.fixture
async def client(environment):
    client = await get_redis_client()
    yield client
    await close_redis_client()


async def test_values(client):
    assert await client.set("key", {"a": [1]}, ttl=60)
    assert await client.get("key") == {"a": [1]}
    assert 59 <= await client.ttl("key") <= 60
    assert await client.exists("key")
    assert await client.expire("key", 10)
    assert await client.delete("key", "other") == 1
    assert await client.get("key", "none") == "none"
    assert await client.ttl("key") == -2
    assert not await client.expire("key", 10)


@pytest.mark.parametrize("value", [True, "123", "true", 5, ["x"], ""])
async def test_values_come_back_as_they_were(client, value):
    await client.set("key", value)
    found = await client.get("key")
    assert (type(value), value) == (type(found), found)
    assert await client.ttl("key") == -1


@pytest.mark.parametrize("value", [{0: 5}, {1, 2}, b"x", None])
async def test_what_would_not_is_an_error(client, value):
    with pytest.raises(UnsupportedValue):
        await client.set("key", value)
    with pytest.raises(ValueError, match="ttl"):
        await client.set("key", 5, ttl=0)


async def test_hashes(client):
    assert await client.hset("hash", {"a": 1, "b": 2}) == 2
    assert await client.hset("hash", {"b": 3, "c": 4}) == 1
    assert await client.hget("hash", "b") == 3
    assert await client.hgetall("hash") == {"a": 1, "b": 3, "c": 4}
    assert await client.hdel("hash", "a", "z") == 1
    assert await client.hget("hash", "a") is None


async def test_lists(client):
    assert await client.rpush("list", "a", "b") == 2
    assert await client.lpush("list", "c", "d") == 4
    assert await client.lrange("list") == ["d", "c", "a", "b"]
    assert await client.lrange("list", 1, 2) == ["c", "a"]
    assert await client.lrange("list", -2, -2) == ["a"]
    assert await client.llen("list") == 4
    await asyncio.gather(*(client.rpush("list", number) for number in range(5)))
    assert await client.llen("list") == 9


async def test_cached_values(client):
    assert await client.cache_set("key", {"a": 1}, ttl=60)
    assert await client.cache_get("key") == {"a": 1}
    assert await client.cache_delete("key")
    assert await client.cache_get("key", "none") == "none"


KINDS = [
    "user_preferences",
    "user_guilds",
    "guild_channels",
    "guild_roles",
    "guild_emojis",
    "poll_results",
    "user_stats",
    "session_data",
]


@pytest.mark.parametrize("kind", KINDS)
async def test_kinds_of_cached_things(client, kind):
    service = get_cache_service()
    put, get, drop = (getattr(service, name.format(kind)) for name in ("cache_{}", "get_cached_{}", "invalidate_{}"))
    assert await put("1", {"x": 1})
    assert await get("1") == {"x": 1}
    assert await get(1) == {"x": 1}
    assert await drop("1")
    assert await get("1") is None


async def test_groups(client):
    service = get_cache_service()
    await service.cache_user_preferences(1, {})
    await service.cache_guild_roles(1, [])
    assert await service.invalidate_user_cache(1) == 4
    assert await service.get_cached_user_preferences(1) is None
    assert await service.get_cached_guild_roles(1) == []
    assert await service.invalidate_guild_cache(1) == 4
    assert await service.get_cached_guild_roles(1) is None
    await service.cache_user_preferences(1, {"a": 1})
    assert await service.clear_all_cache() > 10
    assert await service.get_cached_user_preferences(1) is None


async def test_health_is_as_documented(environment):
    found = await health()
    assert {"status", "timestamp", "redis"} == found.keys()
    assert {"status", "connected", "timestamp"} == found["redis"].keys()
    assert (found["status"], found["redis"]["status"]) == ("healthy", "healthy")
    assert (environment is not None) is found["redis"]["connected"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["timestamp"])
    await close_redis_client()


async def test_an_outage_is_told_and_hurts_nobody(binary):
    async with Server(binary) as server, state_at(server.url, breaker=BreakerSettings(probe_delay=0.02)) as state:
        use_state(state)
        client, service = await get_redis_client(), get_cache_service()
        assert await client.set("seen", 1)
        await in_thread(server.kill)
        await until(lambda: state.mode is Mode.DEGRADED)
        assert not client.is_connected
        assert await client.get("seen") == 1
        assert await client.get("unseen", "default") == "default"
        assert await client.rpush("unseen", 1) == 0
        assert await client.lrange("unseen") == []
        assert await client.delete("unseen", "unseen too") == 0
        assert await client.set("kept", 2)
        assert await service.cache_user_preferences(1, {"a": 1})
        assert await service.get_cached_user_preferences(1) == {"a": 1}
        found = await service.health_check()
        assert (found["status"], found["connected"]) == ("unhealthy", False)
        assert (await health())["status"] == "healthy"
    assert isinstance(service, CacheService)


async def test_a_state_of_ones_own_is_not_closed():
    async with PollyState(observers=()) as state:
        use_state(state)
        await (await get_redis_client()).set("key", 1)
        await close_redis_client()
        assert await state.map("polly").get("key") == 1
