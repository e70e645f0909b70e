"""Servers that are not as they should be: a clear error or a loud warning, and nothing lost."""

from __future__ import annotations

import secrets

import pytest

from polly_state import BreakerSettings, CommandRejected, Mode
from polly_state.events import EvictingServer, OperationDead
from polly_state.testing import FaultProxy, Server
from tests.outages import Record, state_at, until
from tests.testing.wire import ask

QUICK = BreakerSettings(probe_delay=0.02, probe_delay_cap=0.05)


@pytest.fixture
async def own_server(binary):
    async with Server(binary) as server:
        yield server


@pytest.mark.parametrize(
    ("limit", "policy", "warnings"),
    [
        ("0", "allkeys-lru", []),
        ("1gb", "noeviction", []),
        ("1gb", "allkeys-lru", ["allkeys-lru"]),
        ("1gb", "volatile-ttl", ["volatile-ttl"]),
    ],
)
async def test_a_server_that_drops_data_is_warned_of_once(own_server, limit, policy, warnings):
    ask(own_server.url, f"CONFIG SET maxmemory {limit}", f"CONFIG SET maxmemory-policy {policy}")
    record = Record()
    async with FaultProxy(own_server.url) as proxy, state_at(proxy.url, (record,), breaker=QUICK) as state:
        for number in range(3):
            await state.map("m", int).set("a", number)
            proxy.reset()
            await until(lambda expected=number + 2: state.statistics().connection.connections >= expected)
            await until(lambda: state.mode is Mode.CONNECTED)
        assert warnings == [event.policy for event in record.of(EvictingServer)]


async def test_without_scripts_writes_are_refused_and_kept_ones_wait(own_server):
    record = Record()
    async with FaultProxy(own_server.url) as proxy, state_at(proxy.url, (record,), breaker=QUICK) as state:
        numbers = state.map("m", int)
        await numbers.set("a", 1)
        ask(own_server.url, "ACL SETUSER default -eval -evalsha")
        with pytest.raises(CommandRejected, match="ACL"):
            await numbers.set("a", 2)
        assert await numbers.get("a") == 1
        proxy.refuse()
        proxy.reset()
        await until(lambda: state.mode is Mode.DEGRADED)
        await numbers.set("a", 3)
        proxy.heal()
        await until(lambda: state.mode is Mode.RECOVERING)
        assert state.health().pending == 1
        ask(own_server.url, "ACL SETUSER default +eval +evalsha")
        await until(lambda: state.mode is Mode.CONNECTED)
        assert await numbers.get("a") == 3
        assert record.of(OperationDead) == []


async def test_a_server_that_lacks_a_command_says_what_is_needed(binary):
    async with (
        Server(binary, arguments=("--rename-command", "EVALSHA", "none")) as server,
        state_at(server.url) as state,
    ):
        with pytest.raises(CommandRejected, match=r"Redis 6\.2 or newer"):
            await state.map("m", int).set("a", 1)
        assert await state.map("m", int).get("a") is None


async def test_a_stamp_from_a_clock_that_is_far_off_is_refused_and_nothing_is_written(own_server):
    name = f"far-{secrets.token_hex(4)}"
    async with state_at(own_server.url, namespace=name) as state:
        await state.map("m", int).set("a", 1)
        future = f"{int((state._clock.now() + 86_400) * 1000):012x}0000aaaaaaaa"
        ask(own_server.url, f"HSET {name}:~m:m:{{a}} ~value {future}")
        with pytest.raises(CommandRejected, match="clock"):
            await state.map("m", int).set("a", 2)
        assert await state.map("m", int).get("a") == 1
