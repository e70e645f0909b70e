"""Sentinels: each connection goes to whoever is master by then, and what a failover forgets is sent again."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from polly_state import (
    Ack,
    Address,
    AuthenticationFailed,
    ConfigurationError,
    Mode,
    Origin,
    StateError,
    StoreUnavailable,
)
from polly_state.testing import FaultProxy, Server
from polly_state.testing.loopback import free_port
from tests.outages import QUICK, in_thread, state_at, until
from tests.sentinels import NAME, watched
from tests.testing.wire import ask

pytestmark = pytest.mark.once


@asynccontextmanager
async def counting(state):
    """Add to counters all the while; gives how often each was acknowledged."""
    acknowledged, acks, errors, go_on = dict.fromkeys("abcd", 0), set(), [], True

    async def add(name):
        while go_on:
            try:
                await state.counters("plays").add(name)
                acks.add(await state.map("last", int).set(name, acknowledged[name] + 1))
            except StateError as error:
                errors.append(error)
            else:
                acknowledged[name] += 1
            await asyncio.sleep(0.002)

    tasks = [asyncio.create_task(add(name)) for name in acknowledged]
    yield acknowledged, acks
    go_on = False
    await asyncio.gather(*tasks)
    assert errors == []


@pytest.mark.parametrize("end", ["kill", "freeze"])
async def test_a_failover_loses_nothing_and_counts_nothing_twice(binary, end):
    async with watched(binary) as group:
        await group.settled()
        async with state_at(group.url, breaker=QUICK) as state:
            async with counting(state) as (acknowledged, acks):
                await until(lambda: min(acknowledged.values()) > 50)
                await in_thread(getattr(group.master, end))
                await until(lambda: Ack.LOCAL_VOLATILE in acks)
                await until(lambda: state.mode is Mode.CONNECTED)
                if end == "freeze":
                    # It takes itself for the master until it is told.
                    group.master.thaw()
                reached = min(acknowledged.values())
                await until(lambda: min(acknowledged.values()) > reached + 50)
            await until(lambda: state.mode is Mode.CONNECTED)
            assert ask(group.replica.url, "ROLE")[0] == b"*3"
        async with state_at(group.url, breaker=QUICK) as other:
            for name, number in acknowledged.items():
                assert await other.counters("plays").value(name) == number
                assert await other.map("last", int).get(name) == number
            assert (await other.map("last", int).read("a")).origin is Origin.REDIS
        keys = ask(group.replica.url, "EXISTS polly:last:{a}")
        assert keys == [b":1"]


async def test_a_sentinel_that_hangs_or_is_gone_holds_up_nobody(binary):
    async with watched(binary) as group:
        group.sentinels[0].freeze()
        await in_thread(group.sentinels[1].kill)
        try:
            async with state_at(group.url, required=True) as state:
                assert await state.map("m", int).set(1, 1) is Ack.REMOTE
                await in_thread(group.sentinels[2].kill)
                # They are asked when there is somebody to be found.
                assert await state.map("m", int).set(1, 2) is Ack.REMOTE
        finally:
            group.sentinels[0].thaw()
        await in_thread(group.sentinels[0].kill)
        with pytest.raises(StoreUnavailable, match="no Sentinel of mymaster/0 by"):
            async with state_at(group.url, required=True):
                pass


async def test_a_name_that_no_sentinel_knows_is_said_to_be_wrong(binary):
    async with watched(binary) as group:
        with pytest.raises(ConfigurationError, match="knows no master of the name"):
            async with state_at(group.url.replace(NAME, "other")):
                pass


async def test_who_is_no_master_any_more_is_not_taken_for_one(binary):
    async with watched(binary) as group:
        # The Sentinels look each ten seconds.
        ask(group.master.url, f"REPLICAOF 127.0.0.1 {free_port()}")
        with pytest.raises(StoreUnavailable, match="is not the master"):
            async with state_at(group.url, required=True):
                pass


async def test_sentinels_may_have_the_password_or_none(binary):
    for sentinel_password in ("s3cret", None):
        async with watched(binary, sentinel_password=sentinel_password, password="s3cret") as group:
            url = group.url.replace("//", "//:s3cret@")
            async with state_at(url, required=True) as state:
                assert await state.map("m", int).set(1, 1) is Ack.REMOTE
            with pytest.raises(AuthenticationFailed) as caught:
                async with state_at(group.url.replace("//", "//:wr0ng@")):
                    pass
            assert "wr0ng" not in str(caught.value)


async def test_a_demoted_server_is_left_once_a_new_connection_leads_elsewhere(binary):
    # As behind a name that is made to point to the new master, while connections to the old one stay.
    async with (
        Server(binary) as old,
        Server(binary) as new,
        FaultProxy(old.url) as proxy,
        state_at(proxy.url, breaker=QUICK) as state,
    ):
        documents = state.map("m", int)
        assert await documents.set(1, 1) is Ack.REMOTE
        ask(old.url, f"REPLICAOF 127.0.0.1 {new.port}")
        assert await documents.set(1, 2) is Ack.LOCAL_VOLATILE
        await until(lambda: state.mode is Mode.READ_ONLY)
        proxy.redirect(new.url)
        await until(lambda: state.mode is Mode.CONNECTED)
        assert ask(new.url, "EXISTS polly:m:{1}") == [b":1"]
        assert await documents.set(1, 3) is Ack.REMOTE
        assert (await documents.read(1)).value == 3


@pytest.mark.parametrize(
    ("url", "nodes", "master", "db"),
    [
        ("redis+sentinel://a/m", (("a", 26379),), "m", 0),
        ("valkeys+sentinel://u:p@a:1,b/my%2Fm/3", (("a", 1), ("b", 26379)), "my/m", 3),
        ("redis+sentinel://a/m?db=2", (("a", 26379),), "m", 2),
    ],
)
def test_a_url_names_sentinels_and_their_master(url, nodes, master, db):
    address = Address.parse(url)
    assert (address.nodes, address.master, address.db, address.cluster) == (nodes, master, db, False)
    assert str(address) == f"{master}/{db} by {','.join(f'{host}:{port}' for host, port in nodes)}"


@pytest.mark.parametrize(
    ("url", "advice"), [("redis+sentinel://a", "master's name is missing"), ("redis+sentinel://a/m/x", "a number")]
)
def test_a_url_without_a_master_is_refused(url, advice):
    with pytest.raises(ConfigurationError, match=advice):
        Address.parse(url)
