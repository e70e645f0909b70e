"""REPLICATED: a write that a replica has too, or an error that says so."""

from __future__ import annotations

import asyncio

import pytest

from polly_state import Ack, StoreUnavailable
from polly_state.store.redis import waited
from polly_state.testing import Server
from tests.clusters import clustered
from tests.outages import PATIENT, state_at, until
from tests.testing.wire import ask


@pytest.fixture
async def pair(binary):
    async with Server(binary) as server, Server(binary) as replica:
        ask(replica.url, f"REPLICAOF 127.0.0.1 {server.port}")
        await until(lambda: ask(server.url, "WAIT 1 1000") == [b":1"])
        yield server, replica


async def test_a_write_is_replicated_when_a_replica_has_it(pair):
    server, replica = pair
    async with state_at(server.url) as state:
        documents = state.map("m", int)
        assert await documents.set(1, 1, require=Ack.REPLICATED) is Ack.REPLICATED
        assert ask(replica.url, "EXISTS polly:m:{1}") == [b":1"]
        assert await documents.set(1, 2) is Ack.REMOTE
        plays = state.counters("plays")
        acks = [plays.add("x", require=Ack.REPLICATED) for _ in range(20)]
        await asyncio.gather(*acks)
        assert ask(replica.url, "GET polly:plays:{x}") == [b"$2"]
        assert await plays.value("x") == 20
        # What is written to be waited for ends by itself, and beside what it is for.
        assert ask(server.url, f"EXISTS {waited('polly:m:{1}')}") in ([b":1"], [b":0"])
        assert int(ask(server.url, f"PTTL {waited('polly:m:{1}')}")[0][1:]) <= 1000


async def test_a_replica_that_does_not_confirm_is_an_error_that_tells_that_it_may_be_written(pair):
    server, replica = pair
    async with state_at(server.url, deadlines=PATIENT) as state:
        documents = state.map("m", int)
        replica.freeze()
        try:
            with pytest.raises(StoreUnavailable, match="no replica has confirmed") as caught:
                await documents.set(1, 1, require=Ack.REPLICATED)
        finally:
            replica.thaw()
        assert caught.value.maybe_applied
        assert await documents.get(1) == 1
        # Nothing is wrong with Redis.
        assert state.statistics().connection.link.value == "closed"


async def test_of_a_cluster_the_server_that_has_the_key_is_asked(binary):
    async with clustered(binary, replicas=1) as cluster, state_at(cluster.url) as state:
        documents, outcomes = state.map("m", int), set()
        for number in range(20):
            try:
                outcomes.add(await documents.set(number, 1, require=Ack.REPLICATED))
            except StoreUnavailable as error:
                outcomes.add(str(error))
                assert await documents.get(number) is None
        assert outcomes == {Ack.REPLICATED, "REPLICATED cannot be given: the server has no replica now"}
