"""Fenced writes: once a later holder has written, an earlier one can not, on every store."""

from __future__ import annotations

import secrets

import pytest

from polly_state import BreakerSettings, CommandRejected, Fenced, Mode, PollyState, Settings, StoreUnavailable, Values
from polly_state.commands import SetFenced
from polly_state.commands.base import companion
from polly_state.structures import Binding, Family
from polly_state.testing import FaultProxy, Server
from tests.outages import in_thread, state_at, until
from tests.testing.wire import ask

QUICK = BreakerSettings(probe_delay=0.02, probe_delay_cap=0.05)


@pytest.fixture
def values(store):
    return Values(Binding(store.store, Family(store.key().partition(":")[0], "t"), None, 1000), str)


@pytest.fixture
def namespace():
    return f"fence-{secrets.token_hex(4)}"


async def test_a_lower_fence_than_was_seen_writes_nothing(values):
    await values.set("a", "second", fence=20)
    await values.set("a", "second again", fence=20)
    with pytest.raises(Fenced):
        await values.set("a", "first", fence=10)
    with pytest.raises(Fenced):
        await values.delete("a", fence=19)
    assert await values.get("a") == "second again"
    await values.set("a", "third", fence=30)
    await values.set("b", "of another", fence=1)
    await values.delete("a", fence=30)
    with pytest.raises(Fenced):
        await values.set("a", "second", fence=20)
    assert (await values.get("a"), await values.get("b")) == (None, "of another")


async def test_who_writes_without_a_fence_is_not_asked_and_changes_nothing_for_others(values):
    await values.set("a", "held", fence=20)
    await values.set("a", "plain")
    with pytest.raises(Fenced):
        await values.set("a", "late", fence=10)
    assert await values.get("a") == "plain"
    await values.set("a", "held", fence=20)
    assert await values.get("a") == "held"


async def test_a_fence_outlives_a_value_that_ends(store, values):
    await values.set("a", "second", ttl=0.05, fence=20)
    await store.lapse(0.1)
    assert await values.get("a") is None
    for _ in range(2):
        with pytest.raises(Fenced):
            await values.set("a", "first", fence=10)
    assert await values.create("a", "plain")
    assert await values.get("a") == "plain"
    with pytest.raises(Fenced):
        await values.delete("a", fence=10)


async def test_nothing_is_left_where_something_else_is(server, namespace):
    key = f"{namespace}:results:{{x}}"
    ask(server.url, f"RPUSH {key} y")
    async with state_at(server.url, namespace=namespace) as state:
        with pytest.raises(CommandRejected, match="another kind"):
            await state.map("results", str).set("x", "y", fence=1)
        assert not await state._stack._connection.send(("EXISTS", companion(key)))


async def test_a_ttl_is_as_asked(values):
    await values.set("a", "x", ttl=50.0, fence=1)
    assert await values.time_to_live("a") == pytest.approx(50, abs=1)


@pytest.mark.parametrize("fence", [0, -1, 2**53, True, 1.0])
async def test_what_is_no_fence_is_an_error(values, fence):
    with pytest.raises((ValueError, TypeError), match="number"):
        await values.set("a", "x", fence=fence)
    assert await values.get("a") is None


async def test_a_write_that_is_sent_again_is_one(redis_store):
    key, stamp = redis_store.key(), redis_store.stamp()
    for _ in range(3):
        assert await redis_store.attempt(SetFenced(key, stamp, b"x", fence=5))
    with pytest.raises(Fenced):
        await redis_store.attempt(SetFenced(key, redis_store.stamp(), b"y", fence=4))


async def test_a_holder_who_has_lost_the_lock_cannot_write_after_the_next_one(server, namespace):
    async with state_at(server.url, namespace=namespace) as one, state_at(server.url, namespace=namespace) as two:
        late = await one.locks().acquire("x")
        await one.map("results", str).set("x", "mine", fence=late.fence)
        ask(server.url, f"DEL {namespace}:locks:{{x}}")
        current = await two.locks().acquire("x")
        await one.map("results", str).set("x", "still mine", fence=late.fence)
        await two.map("results", str).set("x", "theirs", fence=current.fence)
        with pytest.raises(Fenced):
            await one.map("results", str).set("x", "mine again", fence=late.fence)
        assert await one.map("results", str).get("x") == "theirs"


async def test_while_redis_is_away_a_fenced_write_is_refused_and_never_comes(server, namespace):
    async with (
        FaultProxy(server.url) as proxy,
        state_at(proxy.url, namespace=namespace, breaker=QUICK) as state,
    ):
        values = state.map("results", str)
        await values.set("x", "before", fence=1)
        proxy.refuse()
        proxy.reset()
        await until(lambda: state.mode is Mode.DEGRADED)
        for call in (values.set("x", "during", fence=2), values.delete("x", fence=2)):
            with pytest.raises(StoreUnavailable):
                await call
        assert state.health().pending == 0
        proxy.heal()
        await until(lambda: state.mode is Mode.CONNECTED)
        assert await values.get("x") == "before"


@pytest.mark.blocking
async def test_a_server_that_forgets_is_told_of_the_fence_again(binary, namespace):
    with Server(binary) as server:
        async with state_at(server.url, namespace=namespace, breaker=QUICK) as state:
            values = state.map("results", str)
            await values.set("x", "of the first", fence=1)
            await values.set("x", "of the second", fence=2)
            await in_thread(lambda: ask(server.url, "FLUSHALL"))
            await until(lambda: state.statistics().repair.resent and not state.health().pending)
            assert await values.get("x") == "of the second"
            with pytest.raises(Fenced):
                await values.set("x", "of the first", fence=1)
            assert state.statistics().journal.dead == 0


async def test_what_is_sent_again_after_a_later_holder_has_written_is_superseded(server, namespace):
    async with state_at(server.url, namespace=namespace) as state, state_at(server.url, namespace=namespace) as other:
        await other.map("results", str).set("x", "of the second", fence=2)
        # As after a server that has forgotten, when the second was faster.
        key = f"{namespace}:results:{{x}}"
        await state._stack._resilient.keep([SetFenced(key, state._clock.stamp(), b'"of the first"', fence=1)])
        await until(lambda: state.mode is Mode.CONNECTED and not state.health().pending)
        assert await state.map("results", str).get("x") == "of the second"
        assert (state.statistics().journal.dead, state.statistics().replay.superseded) == (0, 1)


@pytest.mark.blocking
async def test_processes_with_a_directory_in_common_see_the_same_fence(tmp_path):
    settings = Settings(directory=tmp_path / "state")
    async with PollyState(settings, observers=()) as one, PollyState(settings, observers=()) as two:
        await one.map("results", str).set("x", "second", fence=2)
        with pytest.raises(Fenced):
            await two.map("results", str).set("x", "first", fence=1)
    async with PollyState(settings, observers=()) as three:
        with pytest.raises(Fenced):
            await three.map("results", str).set("x", "first", fence=1)
        assert await three.map("results", str).get("x") == "second"


@pytest.mark.blocking
@pytest.mark.parametrize("between", ["set", "take"])
async def test_a_fence_outlives_what_is_written_without_one_and_processes_agree(tmp_path, between):
    settings = Settings(directory=tmp_path / "state")
    async with PollyState(settings, observers=()) as one, PollyState(settings, observers=()) as two:
        mine, theirs = one.map("results", str), two.map("results", str)
        await mine.set("x", "first", fence=1)
        await theirs.set("x", "third", fence=3)
        await {"set": lambda: theirs.set("x", "y"), "take": lambda: theirs.take("x")}[between]()
        async with PollyState(settings, observers=()) as late:
            everywhere = [mine, theirs, late.map("results", str)]
            for values in reversed(everywhere):
                with pytest.raises(Fenced):
                    await values.set("x", "second", fence=2)
            for number, values in enumerate(everywhere):
                await values.set("x", str(number), fence=3)
                assert [await each.get("x") for each in everywhere] == [str(number)] * 3
