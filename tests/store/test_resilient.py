"""The resilient store: what a bot is told and keeps while Redis comes and goes."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from itertools import pairwise

import pytest

from polly_state import (
    Ack,
    AuthenticationFailed,
    Bounds,
    BreakerSettings,
    CommandRejected,
    LocalStoreFull,
    Mode,
    Origin,
    PollyState,
    Settings,
    StateUnavailable,
    StoreUnavailable,
)
from polly_state.commands import Add, Delete, Get, Set
from polly_state.errors import StateError
from polly_state.events import ModeChanged, OperationDead, Replayed
from polly_state.stamps import HybridClock
from polly_state.store.memory_journal import MemoryJournal
from polly_state.testing import FaultProxy, Server
from tests.outages import QUICK, Record, cut, in_thread, isolate, later, mend, settings_for, state_at, until
from tests.testing.wire import ask


def things(state, kind=int):
    return state.map("things", kind)


async def test_connected_answers_come_from_redis(state):
    assert Mode.CONNECTED is state.mode
    assert Ack.REMOTE is await things(state).set("x", 1)
    assert await things(state).read("x") == (1, Origin.REDIS, 0.0)
    assert await things(state).read("none") == (None, Origin.REDIS, 0.0)
    assert not (await things(state).read("x")).stale


async def test_degraded_reads_come_from_the_mirror_and_tell_their_age(proxy, state):
    await things(state).set("x", 1)
    await things(state).get("absent")
    await cut(proxy, state)
    await asyncio.sleep(0.02)
    found = await things(state).read("x")
    assert found[:2] == (1, Origin.MIRROR)
    assert 0.02 <= found.age < 30
    assert found.stale
    missing = await things(state).read("absent", default=7)
    assert missing[:2] == (7, Origin.MIRROR)
    assert await things(state).get("absent") is None


async def test_degraded_writes_are_kept_and_say_so(proxy, state):
    await cut(proxy, state)
    assert Ack.LOCAL_VOLATILE is await things(state).set("x", 2)
    assert (*(await things(state).read("x"))[:2], (await things(state).read("x")).stale) == (2, Origin.JOURNAL, False)
    assert state.health().pending == 1
    assert state.health().ready
    assert not state.health().redis_available


async def test_what_redis_has_is_unknown_and_not_missing(proxy, state, other):
    await things(other).set("theirs", 1)
    await other.counters("plays").add("theirs")
    await other.preferences.set(1, "bot", enabled=True)
    await cut(proxy, state)
    for question in (
        things(state).get("theirs"),
        things(state).get_many(["theirs"]),
        things(state).time_to_live("theirs"),
        state.counters("plays").value("theirs"),
        state.preferences.is_enabled(1, "bot"),
        state.preferences.all(1),
        state.preferences.toggle(1, "bot"),
        state.counters("plays").add("theirs"),
        things(state).create("theirs", 5),
        things(state).update("theirs", 5),
        things(state).swap("theirs", 1, 5),
    ):
        with pytest.raises(StateUnavailable):
            await question
    assert await things(state).read("theirs", default=9) == (9, Origin.DEFAULT, 0.0)
    assert await state.preferences.read(1, "bot") == (False, Origin.DEFAULT, 0.0)
    assert state.health().pending == 0
    await mend(proxy, state)
    assert await things(state).get("theirs") == 1


async def test_what_must_be_in_redis_is_refused_and_not_kept(proxy, state, other):
    await things(state).set("x", 1)
    await state.preferences.set(1, "bot", enabled=True)
    await state.counters("plays").add("x", 5)
    await cut(proxy, state)
    for write in (
        things(state).set("x", 2, require=Ack.REMOTE),
        things(state).delete("x", require=Ack.REMOTE),
        things(state).swap("x", 1, 2, require=Ack.REMOTE),
        state.fields("preferences", bool).toggle(1, "bot", require=Ack.REMOTE),
        state.counters("plays").add("x", 5, require=Ack.REMOTE),
    ):
        with pytest.raises(StoreUnavailable):
            await write
    assert state.health().pending == 0
    assert (await things(state).read("x")).value == 1
    await mend(proxy, state)
    assert await things(other).get("x") == 1
    assert await other.preferences.is_enabled(1, "bot")
    assert await state.counters("plays").add("x", 1) == 6


async def test_a_required_write_caught_in_flight_is_not_kept_either(proxy, state, other):
    await things(state).set("x", 1)
    proxy.hold()
    with pytest.raises(StoreUnavailable):
        await things(state).set("x", 2, require=Ack.REMOTE)
    assert state.health().pending == 0


async def test_no_kind_of_write_is_lost_over_an_outage(proxy, state, other):
    await things(state).set("deleted", 1)
    await things(state).set("swapped", 1)
    await state.preferences.set(1, "on", enabled=False)
    await state.preferences.set(2, "gone", enabled=True)
    await state.counters("plays").add("x", 10)
    await cut(proxy, state)
    await things(state).set("x", 2)
    await things(state).delete("deleted")
    assert await things(state).swap("swapped", 1, 5)
    assert not await things(state).swap("swapped", 1, 6)
    assert await state.preferences.toggle(1, "on")
    await state.preferences.delete(2, "gone")
    assert [await state.counters("plays").add("x", by) for by in (1, 3, -2)] == [11, 14, 12]
    await mend(proxy, state)
    assert await things(other).get_many(["x", "deleted", "swapped"]) == {"x": 2, "swapped": 5}
    assert await other.preferences.all(1) == {"on": True}
    assert await other.preferences.all(2) == {}
    assert await other.counters("plays").value("x") == 12
    assert state.health().pending == 0


async def test_what_was_decided_locally_is_replayed_as_decided(proxy, state, other):
    await state.preferences.set(1, "bot", enabled=False)
    await things(state).set("x", 1)
    await things(state).get("absent")
    await cut(proxy, state)
    await other.preferences.toggle(1, "bot")
    await later(state, than=other)
    assert await state.preferences.toggle(1, "bot")
    assert await things(state).create("absent", 3)
    assert not await things(state).create("absent", 4)
    assert await things(state).update("x", 8)
    await mend(proxy, state)
    # Both turned it on, seen from where they were: turned twice it would be off.
    assert await other.preferences.is_enabled(1, "bot")
    assert await things(other).get_many(["absent", "x"]) == {"absent": 3, "x": 8}


async def test_a_newer_write_of_another_process_stays(proxy, state, other):
    record = Record()
    state._observers = (record,)
    await things(state).set("x", 1)
    await cut(proxy, state)
    await things(state).set("x", 2)
    await later(other, than=state)
    await things(other).set("x", 3)
    await mend(proxy, state)
    assert await things(other).get("x") == 3
    assert await things(state).get("x") == 3
    assert sum(event.superseded for event in record.of(Replayed)) == 1


async def test_a_newer_write_of_this_process_wins(proxy, state, other):
    await things(state).set("x", 1)
    await cut(proxy, state)
    await things(other).set("x", 3)
    await later(state, than=other)
    await things(state).set("x", 2)
    await mend(proxy, state)
    assert await things(other).get("x") == 2


async def test_keys_with_kept_writes_are_replayed_before_they_are_read(proxy, state):
    await cut(proxy, state)
    for number in range(1500):
        await things(state).set(number, number)
    proxy.heal()
    await until(lambda: state.mode is not Mode.DEGRADED)
    # The newest key would be among the last of the replay.
    assert await things(state).get(1499) == 1499
    assert Mode.RECOVERING is state.mode
    await things(state).set(1498, -1)
    assert await things(state).get(1498) == -1
    await until(lambda: state.mode is Mode.CONNECTED)
    assert (await things(state).get(1498), await things(state).get(1499)) == (-1, 1499)


async def test_at_its_bound_the_journal_refuses_and_drops_nothing(proxy, namespace, other):
    bounds = Bounds(journal_entries=10)
    async with state_at(proxy.url, namespace=namespace, breaker=QUICK, bounds=bounds) as state:
        await cut(proxy, state)
        for number in range(10):
            await things(state).set(number, number)
        with pytest.raises(LocalStoreFull, match="journal_entries"):
            await things(state).set("one more", 1)
        assert Ack.LOCAL_VOLATILE is await things(state).set(3, 33)
        with pytest.raises(StateUnavailable):
            await things(state).get("one more")
        await mend(proxy, state)
        expected = {number: number for number in range(10)} | {3: 33}
        assert expected == await things(other).get_many([*range(10), "one more"])


async def test_many_writers_of_one_key_caught_by_a_loss_all_get_an_answer(proxy, state, other):
    await things(state).set("x", 0)
    proxy.hold()
    writes = [asyncio.create_task(things(state).set("x", number)) for number in range(1, 41)]
    await until(lambda: state.statistics().connection.in_flight >= 40)
    proxy.refuse()
    proxy.reset()
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert {Ack.LOCAL_VOLATILE} == set(outcomes)
    mine = await things(state).get("x")
    await mend(proxy, state)
    assert mine == await things(other).get("x")


async def test_additions_caught_by_a_loss_count_once_each(proxy, state, other):
    plays = state.counters("plays")
    await plays.add("x")
    proxy.hold()
    additions = [asyncio.create_task(plays.add("x")) for _ in range(40)]
    await until(lambda: state.statistics().connection.in_flight >= 40)
    proxy.refuse()
    proxy.reset()
    outcomes = await asyncio.gather(*additions, return_exceptions=True)
    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    await mend(proxy, state)
    assert await other.counters("plays").value("x") == 41


async def test_an_older_write_that_fails_late_is_no_error_and_loses(proxy, state, other):
    documents = state.map("documents", bytes)
    await documents.set("x", b"before")
    proxy.hold()
    late = asyncio.create_task(documents.set("x", random.Random(1).randbytes(200_000)))
    await until(lambda: proxy.open == 2)
    isolate(state._stack._connection, 0.2)
    await documents.set("x", b"newer")
    outcome = (await asyncio.gather(late, return_exceptions=True))[0]
    assert isinstance(outcome, (Ack, StateError)), repr(outcome)
    proxy.heal()
    await until(lambda: state.mode is Mode.CONNECTED)
    assert await documents.get("x") == await other.map("documents", bytes).get("x")


@pytest.mark.parametrize("kind", ["counter", "switch", "create"])
async def test_a_write_that_may_have_run_is_never_called_merely_unknown(proxy, state, kind):
    proxy.drop_replies()
    call = {
        "counter": lambda: state.counters("plays").add("x"),
        "switch": lambda: state.preferences.toggle(1, "bot"),
        "create": lambda: things(state).create("x", 1),
    }[kind]
    with pytest.raises(StoreUnavailable) as caught:
        await call()
    assert caught.value.maybe_applied


async def test_nobody_reads_older_than_their_own_write_while_redis_flaps(proxy, state, other):
    chance = random.Random(5)
    tally, failures, stop = {}, [], []
    state._observers = (record := Record(),)

    async def bot(number):
        while not stop:
            key = f"{number}-{chance.randrange(5)}"
            value = tally[key] = tally.get(key, 0) + 1
            await things(state).set(key, value)
            await asyncio.sleep(chance.choice((0, 0.001)))
            if (found := await things(state).get(key)) != value:
                failures.append((key, value, found))

    bots = [asyncio.create_task(bot(number)) for number in range(8)]
    for flap in range(20):
        match flap % 3:
            case 0:
                await until(lambda: state.mode is Mode.CONNECTED)
                proxy.refuse()
                proxy.reset()
                await until(lambda: state.mode is Mode.DEGRADED)
            case 1:
                proxy.reset()
            case 2:
                proxy.drop_replies()
        await asyncio.sleep(chance.uniform(0.01, 0.08))
        proxy.heal()
        await asyncio.sleep(chance.uniform(0.0, 0.08))
    stop.append(True)
    await asyncio.gather(*bots)
    await until(lambda: state.mode is Mode.CONNECTED)
    assert failures == []
    assert sum(event.mode is Mode.DEGRADED for event in record.of(ModeChanged)) >= 5
    assert tally == await things(other).get_many(tally)


async def test_a_value_cached_in_an_outage_is_deleted_in_redis_afterwards(proxy, state, other, namespace):
    key = f"{namespace}:cache:{{x}}"
    await state._store.execute(Set(key, b"old"))
    await cut(proxy, state)
    answer = await state._store.execute(Set(key, b"derived"))
    assert answer[:3] == (True, Origin.JOURNAL, Ack.LOCAL_VOLATILE)
    assert (await state._store.execute(Get(key))).value == b"derived"
    await mend(proxy, state)
    assert (await other._store.execute(Get(key))).value is None
    await state._store.execute(Delete(key))


async def test_an_invalidation_in_an_outage_reaches_redis(proxy, state, other, namespace):
    key = f"{namespace}:cache:{{x}}"
    await state._store.execute(Set(key, b"old"))
    await cut(proxy, state)
    await state._store.execute(Delete(key))
    assert (await state._store.execute(Get(key))).value is None
    await mend(proxy, state)
    assert (await other._store.execute(Get(key))).value is None


async def test_a_kept_write_that_redis_rejects_is_reported_and_holds_up_no_other(proxy, server, namespace):
    record = Record()
    async with state_at(proxy.url, (record,), namespace=namespace, breaker=QUICK) as state:
        await state.preferences.set(1, "bot", enabled=True)
        await cut(proxy, state)
        await state.preferences.set(1, "bot", enabled=False)
        await things(state).set("x", 2)
        key = f"{namespace}:preferences:{{1}}"
        ask(server.url, f"DEL {key}", f"SET {key} foreign")
        await mend(proxy, state)
        assert [(event.command, event.code) for event in record.of(OperationDead)] == [("PatchFields", "WRONGTYPE")]
        assert await things(state).get("x") == 2
        with pytest.raises(CommandRejected, match="WRONGTYPE"):
            await state.preferences.is_enabled(1, "bot")


async def test_the_modes_of_an_outage_are_told_in_order(proxy, namespace):
    record = Record()
    async with state_at(proxy.url, (record,), namespace=namespace, breaker=QUICK) as state:
        await things(state).set("x", 1)
        await cut(proxy, state)
        await things(state).set("x", 2)
        await mend(proxy, state)
    changes = record.of(ModeChanged)
    modes = [Mode.CONNECTED, Mode.DEGRADED, Mode.RECOVERING, Mode.CONNECTED]
    assert list(pairwise(modes)) == [(each.previous, each.mode) for each in changes]
    assert all(each.reason and each.seconds >= 0 for each in changes)
    assert [each.answered for each in changes] == [0, 1, 0]


async def test_without_kept_writes_there_is_nothing_to_recover(proxy, namespace):
    record = Record()
    async with state_at(proxy.url, (record,), namespace=namespace, breaker=QUICK) as state:
        await cut(proxy, state)
        await mend(proxy, state)
    assert [each.mode for each in record.of(ModeChanged)] == [Mode.DEGRADED, Mode.CONNECTED]


async def test_a_redis_that_refuses_writes_is_read_and_gets_them_later(binary, namespace):
    async with Server(binary) as server, state_at(server.url, namespace=namespace, breaker=QUICK) as state:
        await things(state).set("x", 1)
        await things(state).set("y", 1)
        ask(server.url, "CONFIG SET maxmemory 1")
        assert Ack.LOCAL_VOLATILE is await things(state).set("x", 2)
        assert Mode.READ_ONLY is state.mode
        assert (await things(state).read("y"))[:2] == (1, Origin.REDIS)
        assert (await things(state).read("x"))[:2] == (2, Origin.JOURNAL)
        with pytest.raises(StoreUnavailable):
            await things(state).set("x", 3, require=Ack.REMOTE)
        assert state.health().redis_available
        ask(server.url, "CONFIG SET maxmemory 0")
        await until(lambda: state.mode is Mode.CONNECTED)
        assert (await things(state).read("x"))[:2] == (2, Origin.REDIS)


async def test_a_reply_older_than_a_kept_write_is_not_believed(binary, namespace):
    async with (
        Server(binary) as server,
        FaultProxy(server.url) as proxy,
        state_at(proxy.url, namespace=namespace) as state,
    ):
        await things(state).set("x", 1)
        ask(server.url, "CONFIG SET maxmemory 1")
        await things(state).set("other", 1)
        assert Mode.READ_ONLY is state.mode
        proxy.hold()
        early = asyncio.create_task(things(state).read("x"))
        await until(lambda: state.statistics().connection.in_flight)
        await things(state).set("x", 2)
        proxy.heal()
        assert (await early)[:2] == (2, Origin.JOURNAL)


async def test_kept_writes_are_not_dropped_to_make_room_for_what_is_read(binary, namespace):
    bounds = Bounds(local_entries=20)
    async with Server(binary) as server, state_at(server.url, namespace=namespace, bounds=bounds) as state:
        ask(server.url, "CONFIG SET maxmemory 1")
        for number in range(5):
            await things(state).set(number, number)
        assert Mode.READ_ONLY is state.mode
        await things(state).get_many(f"other {number}" for number in range(100))
        assert {number: number for number in range(5)} == await things(state).get_many(range(5))


def test_a_total_is_never_replaced_by_an_older_one():
    journal = MemoryJournal(10)
    stamp = HybridClock().stamp()
    newer, older = Add("k", stamp, "0000000a", 5, 1), Add("k", stamp, "0000000a", 3, 1)
    journal.record([newer], 1.0)
    journal.record([older], 2.0)
    assert [newer] == [row.command for row in journal.pending("k")]
    assert len(journal) == 1


async def test_misconfigured_raises_and_serves_nothing_old(binary, namespace):
    quick = BreakerSettings(probe_delay=0.02, probe_delay_misconfigured=0.05)
    async with (
        Server(binary, password="first") as server,
        state_at(server.url, namespace=namespace, breaker=quick) as state,
    ):
        await things(state).set("x", 1)
        ask(server.url, "AUTH first", "CONFIG SET requirepass second", "CLIENT KILL TYPE normal")
        await until(lambda: state.mode is Mode.MISCONFIGURED)
        for call in (things(state).get("x"), things(state).read("x"), things(state).set("x", 2)):
            with pytest.raises(AuthenticationFailed, match="REDIS_PASSWORD"):
                await call
        assert not state.health().ready
        ask(server.url, "AUTH second", "CONFIG SET requirepass first")
        await until(lambda: state.mode is Mode.CONNECTED)
        assert await things(state).get("x") == 1


async def test_a_value_too_large_for_the_mirror_is_stored_and_read_all_the_same(proxy, namespace):
    bounds = Bounds(local_bytes=10_000)
    async with state_at(proxy.url, namespace=namespace, breaker=QUICK, bounds=bounds) as state:
        large = random.Random(3).randbytes(20_000)
        await things(state).set("small", 1)
        assert Ack.REMOTE is await state.map("documents", bytes).set("x", large)
        assert large == await state.map("documents", bytes).get("x")
        await cut(proxy, state)
        assert (await things(state).read("small")).value == 1
        with pytest.raises(StateUnavailable):
            await state.map("documents", bytes).get("x")


async def test_a_key_that_changed_its_kind_under_us_is_answered_as_redis_does(state, server, namespace):
    await things(state).set("x", 1)
    key = f"{namespace}:things:{{x}}"
    ask(server.url, f"DEL {key}", f"HSET {key} f true")
    with pytest.raises(CommandRejected, match="WRONGTYPE"):
        await things(state).get("x")
    ask(server.url, f"DEL {key}")
    assert await things(state).get("x") is None


async def test_the_mirror_never_outgrows_its_bounds(proxy, namespace):
    bounds = Bounds(local_entries=50, local_bytes=100_000)
    async with state_at(proxy.url, namespace=namespace, breaker=QUICK, bounds=bounds) as state:
        for number in range(500):
            await things(state).set(number, number)
        statistics = state.statistics()
        assert statistics.local_entries <= 50
        assert statistics.local_bytes <= 100_000


async def test_closing_in_an_outage_is_quick_and_counts_what_is_lost(proxy, namespace, caplog):
    state = PollyState(settings_for(proxy.url, namespace=namespace, breaker=QUICK), observers=())
    await state.start()
    await cut(proxy, state)
    await things(state).set("x", 1)
    await asyncio.wait_for(state.aclose(), 10.0)
    assert "1 writes that never reached Redis" in caplog.text


async def test_closing_while_recovering_waits_for_the_replay(proxy, namespace, other):
    state = PollyState(settings_for(proxy.url, namespace=namespace, breaker=QUICK), observers=())
    await state.start()
    await cut(proxy, state)
    for number in range(300):
        await things(state).set(number, number)
    proxy.heal()
    await until(lambda: state.mode is Mode.RECOVERING)
    await state.aclose()
    assert len(await things(other).get_many(range(300))) == 300


async def test_use_before_the_start_and_after_the_end_is_refused():
    state = PollyState()
    numbers = things(state)
    with pytest.raises(RuntimeError, match="not started"):
        await numbers.get("x")
    async with state:
        assert await numbers.get("x") is None
    with pytest.raises(RuntimeError, match="closed"):
        await numbers.get("x")
    with pytest.raises(RuntimeError, match="make a new one"):
        await state.start()


async def test_another_event_loop_is_refused(state):
    def elsewhere():
        with pytest.raises(RuntimeError, match="another event loop"):
            asyncio.run(things(state).get("x"))

    await in_thread(elsewhere)
    assert await things(state).get("x") is None


FORKED = """
import asyncio, os, sys
from polly_state import PollyState, Settings

async def child(numbers):
    try:
        await numbers.get("x")
    except RuntimeError as error:
        os._exit(7 if "another event loop or process" in str(error) else 8)
    os._exit(9)

async def main():
    async with PollyState(Settings.from_url(sys.argv[1], namespace=sys.argv[2]), observers=()) as state:
        numbers = state.map("things", int)
        await numbers.set("x", 1)
        pid = os.fork()
        if pid == 0:
            asyncio._set_running_loop(None)
            asyncio.set_event_loop(None)
            asyncio.run(child(numbers))
        _, status = os.waitpid(pid, 0)
        assert await numbers.get("x") == 1
        sys.exit(os.waitstatus_to_exitcode(status))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_after_a_fork_the_child_is_refused_and_the_parent_goes_on(server, namespace):
    words = [sys.executable, "-W", "ignore", "-c", FORKED, server.url, namespace]
    done = subprocess.run(words, capture_output=True, timeout=20, check=False)
    assert done.returncode == 7, done.stderr.decode()


async def test_embedded_answers_are_those_of_an_authority():
    async with PollyState(Settings(), observers=()) as state:
        assert Mode.EMBEDDED is state.mode
        assert Ack.LOCAL_VOLATILE is await things(state).set("x", 1)
        assert await things(state).read("x") == (1, Origin.LOCAL, 0.0)
        assert await things(state).read("none") == (None, Origin.LOCAL, 0.0)
        with pytest.raises(StoreUnavailable, match="REDIS_URL"):
            await things(state).set("x", 2, require=Ack.REMOTE)
        assert await things(state).get("x") == 1
