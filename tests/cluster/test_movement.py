"""A Cluster in motion: slots move, servers fall over, freeze and forget, and nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from polly_state import Ack, AuthenticationFailed, Mode, Origin, StateError, StateUnavailable, StoreUnavailable
from polly_state.cluster.slots import slot_of
from polly_state.connection import ReplyError
from polly_state.events import CircuitChanged, ServerLoss
from tests.clusters import Clustered, ask, clustered
from tests.outages import QUICK, Record, in_thread, state_at, until

pytestmark = pytest.mark.once

BOUND = 2.0


def ids_on(cluster, server, namespace="polly", family="documents", many=5):
    """Ids whose keys are on one server."""
    found = (
        number for number in range(10_000) if cluster.master_of(slot_of(f"{namespace}:{family}:{{{number}}}")) is server
    )
    return [next(found) for _ in range(many)]


@asynccontextmanager
async def writing(state, ids):
    """Set documents all the while; gives what was acknowledged last for each, and every acknowledgement."""
    acknowledged, acks, errors = {}, [], []
    documents, go_on = state.map("documents", int), True

    async def write(name):
        number = 0
        while go_on:
            number += 1
            try:
                acks.append(await documents.set(name, number))
            except StateError as error:
                errors.append(error)
            else:
                acknowledged[name] = number
            await asyncio.sleep(0.002)

    tasks = [asyncio.create_task(write(name)) for name in ids]
    yield acknowledged, acks
    go_on = False
    await asyncio.gather(*tasks)
    assert errors == []


@pytest.mark.parametrize("known", [True, False])
async def test_a_slot_moves_under_its_users_and_nothing_is_lost_or_read_wrongly(binary, known):
    async with clustered(binary, spares=1) as cluster, state_at(cluster.url) as state, state_at(cluster.url) as other:
        source, target = cluster.masters[0], cluster.masters[1] if known else cluster.spares[0]
        name = ids_on(cluster, source)[0]
        slot = slot_of(f"polly:documents:{{{name}}}")
        plays, documents = state.counters("plays"), state.map("documents", int)
        texts = [each.cache.family("texts", str, ttl=60) for each in (state, other)]
        counted, wrong, go_on = 0, [], True

        async def use():
            nonlocal counted
            while go_on:
                await plays.add(name)
                counted += 1
                await texts[0].set(name, str(counted))
                # The other one may have an older value near, for as long as Redis takes to tell.
                for _ in range(5):
                    await texts[1].get(name)
                await documents.set(name, counted)
                read = await documents.read(name)
                if (read.value, read.origin) != (counted, Origin.REDIS):
                    wrong.append(read)

        user = asyncio.create_task(use())
        await until(lambda: counted > 20)
        await cluster.move(slot, source, target)
        reached = counted
        await until(lambda: counted > reached + 20)
        go_on = False
        await user
        assert wrong == []
        assert await plays.value(name) == await other.counters("plays").value(name) == counted
        assert await ask(target, "EXISTS", f"polly:plays:{{{name}}}") == 1
        async with asyncio.timeout(20):
            while await texts[1].get(name) != str(counted):
                await asyncio.sleep(0.001)
        assert state.mode is Mode.CONNECTED
        await until(lambda: state.statistics().near.tracked)
        assert (await texts[0].read(name)).origin is not Origin.DEFAULT
        async with asyncio.timeout(20):
            while (await texts[0].read(name)).origin is not Origin.NEAR:
                await asyncio.sleep(0.001)


async def test_what_another_server_answers_for_is_not_kept_near(binary):
    async with clustered(binary) as cluster, state_at(cluster.url) as state:
        source, target = cluster.masters[:2]
        name = ids_on(cluster, source, family="cache.texts")[0]
        key = f"polly:cache.texts:{{{name}}}"
        texts = state.cache.family("texts", str, ttl=60)
        await texts.set(name, "before")
        near = state._stack.near
        await cluster.begin_to_move(slot_of(key), source, target)
        await ask(source, "MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
        await asyncio.sleep(0.1)
        filled = near.statistics().fills
        for _ in range(5):
            assert (await texts.read(name)).value == "before"
        # All but the markers, which are elsewhere.
        assert near.statistics().fills - filled <= 5
        assert {(await texts.read(name)).origin for _ in range(3)} == {Origin.REDIS}


@pytest.mark.parametrize("coverage", ["yes", "no"])
async def test_a_replica_takes_over_and_nothing_acknowledged_is_lost(binary, coverage):
    async with (
        clustered(binary, replicas=1, coverage=coverage) as cluster,
        state_at(cluster.url, breaker=QUICK) as state,
    ):
        dead, *alive = cluster.masters
        theirs = [name for server in alive for name in ids_on(cluster, server)]
        async with writing(state, ids_on(cluster, dead) + theirs) as (acknowledged, acks):
            await until(lambda: len(acks) > 200)
            await in_thread(dead.kill)
            await until(lambda: Ack.LOCAL_VOLATILE in acks)
            # While one server is away the keys of the others are not answered from here.
            async with asyncio.timeout(20):
                while not all(
                    [(await state.map("documents", int).read(name)).origin is Origin.REDIS for name in theirs]
                ):
                    await asyncio.sleep(0.01)
            nodes = state._stack._connection._topology.nodes
            await until(lambda: ("127.0.0.1", cluster.replicas[0].port) in nodes)
            reached = len(acks)
            await until(lambda: len(acks) > reached + 200)
        await until(lambda: state.mode is Mode.CONNECTED)
        async with state_at(cluster.url) as other:
            found = {name: await other.map("documents", int).get(name) for name in acknowledged}
        assert found == acknowledged
        await until(lambda: state.statistics().near.tracked)
        assert set(acks) == {Ack.REMOTE, Ack.LOCAL_VOLATILE}


async def test_a_replica_that_takes_over_without_the_last_writes_is_given_them(binary):
    record = Record()
    async with clustered(binary, replicas=1) as cluster, state_at(cluster.url, (record,), breaker=QUICK) as state:
        documents, dead, replica = state.map("documents", int), cluster.masters[0], cluster.replicas[0]
        names, nodes = ids_on(cluster, dead, many=20), state._stack._connection._topology.nodes
        await documents.set(names[0], 0)
        # A watermark that the replica has, and others that it has not: it can not come in again.
        await asyncio.sleep(1.0)
        await ask_by(nodes["127.0.0.1", dead.port], "CONFIG", "SET", "requirepass", "new")
        await ask_by(nodes["127.0.0.1", dead.port], "CLIENT", "KILL", "TYPE", "replica")
        for name in names:
            assert await documents.set(name, name) is Ack.REMOTE
        await asyncio.sleep(1.0)
        await in_thread(dead.kill)
        await until(lambda: record.of(ServerLoss))
        await until(lambda: state.mode is Mode.CONNECTED)
        assert {event.possible_loss for event in record.of(ServerLoss)} == {0}
        for name in names:
            assert await ask(replica, "GET", f"polly:documents:{{{name}}}") == str(name)
        # Nobody goes on looking for the dead one.
        await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "polly_state canary"])


async def ask_by(node, *words):
    """What a server answers to a client that it has let in already."""
    assert not isinstance(await node.send(words), ReplyError)


async def test_a_full_server_stays_read_only_until_it_takes_writes_again(binary):
    record = Record()
    async with clustered(binary) as cluster, state_at(cluster.url, (record,), breaker=QUICK) as state:
        documents, full = state.map("documents", int), cluster.masters[0]
        mine, others = ids_on(cluster, full), ids_on(cluster, cluster.masters[1])
        for name in (*mine, *others):
            assert await documents.set(name, 1) is Ack.REMOTE
        await ask(full, "CONFIG", "SET", "maxmemory", "1")
        assert await documents.set(mine[0], 2) is Ack.LOCAL_VOLATILE
        assert await documents.set(others[0], 2) is Ack.REMOTE
        assert (await documents.read(mine[1])).origin is Origin.REDIS
        # Time for some probes, each of which must meet the same refusal.
        await asyncio.sleep(0.5)
        writes = [event.state for event in record.of(CircuitChanged) if event.circuit == "write"]
        assert writes == ["open"]
        await ask(full, "CONFIG", "SET", "maxmemory", "0")
        await until(lambda: state.mode is Mode.CONNECTED)
        assert await ask(full, "GET", f"polly:documents:{{{mine[0]}}}") == "2"


async def test_a_server_that_comes_back_empty_is_given_what_it_had_acknowledged(binary):
    record = Record()
    async with clustered(binary) as cluster, state_at(cluster.url, (record,), breaker=QUICK) as state:
        documents = state.map("documents", int)
        forgetful = cluster.masters[0]
        ids = ids_on(cluster, forgetful, many=20)
        for name in ids:
            await documents.set(name, name)
        # Acknowledged after the last watermark, or before it: all of it is sent again.
        await in_thread(forgetful.restart)
        await cluster.settled()
        await until(lambda: record.of(ServerLoss) and state.mode is Mode.CONNECTED)
        for name in ids:
            assert int(await ask(forgetful, "GET", f"polly:documents:{{{name}}}")) == name
        assert state.statistics().repair.resent >= 20
        assert [event.possible_loss for event in record.of(ServerLoss)] == [0] * len(record.of(ServerLoss))


async def test_a_frozen_server_ends_trust_in_all_that_is_near_and_holds_up_only_its_own_keys(binary):
    async with clustered(binary) as cluster, state_at(cluster.url, breaker=QUICK) as state:
        texts, documents = state.cache.family("texts", str, ttl=60), state.map("documents", int)
        frozen, *alive = cluster.masters
        ids = [ids_on(cluster, server, family="cache.texts")[0] for server in cluster.masters]
        for name in ids:
            await texts.set(name, "v")
            async with asyncio.timeout(20):
                while (await texts.read(name)).origin is not Origin.NEAR:
                    await asyncio.sleep(0.001)
        frozen.freeze()
        began = time.monotonic()
        try:
            await until(lambda: not state.statistics().near.tracked)
            assert time.monotonic() - began < BOUND + 1
            cold = [ids_on(cluster, server)[0] for server in alive]
            for name in cold:
                assert await documents.set(name, 1) is Ack.REMOTE
            assert await documents.set(ids_on(cluster, frozen)[0], 1) is Ack.LOCAL_VOLATILE
            with pytest.raises((StateUnavailable, StoreUnavailable)):
                await documents.get(ids_on(cluster, frozen)[1])
        finally:
            frozen.thaw()
        await cluster.settled()
        await until(lambda: state.mode is Mode.CONNECTED and state.statistics().near.tracked)
        assert await ask(frozen, "GET", f"polly:documents:{{{ids_on(cluster, frozen)[0]}}}") == "1"


async def test_what_waits_for_one_server_does_not_hold_up_what_waits_for_another(binary):
    async with clustered(binary) as cluster, state_at(cluster.url, breaker=QUICK) as state:
        documents, (gone, brief, _) = state.map("documents", int), cluster.masters
        await documents.set(ids_on(cluster, gone)[0], 1)
        await in_thread(gone.kill)
        # More than one batch, and all of it before the others'.
        await asyncio.gather(*(documents.set(name, name) for name in ids_on(cluster, gone, many=500)))
        brief.freeze()
        names = ids_on(cluster, brief, many=5)
        try:
            for name in names:
                assert await documents.set(name, name) is Ack.LOCAL_VOLATILE
        finally:
            brief.thaw()
        # Nobody asks for them: the replay has to get there by itself.
        async with asyncio.timeout(20):
            while not all([await ask(brief, "EXISTS", f"polly:documents:{{{name}}}") for name in names]):
                await asyncio.sleep(0.05)
        assert state.statistics().pending >= 400
        await in_thread(gone.start)
        await until(lambda: state.mode is Mode.CONNECTED)
        assert (
            int(await ask(gone, "GET", f"polly:documents:{{{ids_on(cluster, gone)[0]}}}")) == ids_on(cluster, gone)[0]
        )


async def test_a_cluster_that_is_away_at_the_start_is_found_when_it_comes(binary):
    cluster = Clustered(binary)
    async with state_at(cluster.url, breaker=QUICK) as state:
        assert state.mode is Mode.DEGRADED
        assert await state.map("documents", int).set(1, 1) is Ack.LOCAL_VOLATILE
        with pytest.raises(StoreUnavailable):
            async with state_at(cluster.url, required=True):
                pass
        await in_thread(cluster.__enter__)
        try:
            await until(lambda: state.mode is Mode.CONNECTED)
            async with state_at(cluster.url) as other:
                assert await other.map("documents", int).get(1) == 1
        finally:
            await in_thread(cluster.__exit__)


async def test_a_wrong_password_is_said_at_once(binary):
    async with clustered(binary, password="right") as cluster:
        async with state_at(cluster.url) as state:
            assert await state.map("documents", int).set(1, 1) is Ack.REMOTE
        with pytest.raises(AuthenticationFailed):
            async with state_at(cluster.url.replace("right", "wrong")):
                pass
