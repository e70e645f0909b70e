"""The manager: reconnecting, resending, opening and closing, and leaving nothing behind."""

from __future__ import annotations

import asyncio
import time

import pytest

from polly_state.commands import Add, Count, Get, GetField, Set, ToggleField, companion
from polly_state.commands.values import Condition
from polly_state.connection.breaker import CircuitState
from polly_state.connection.manager import ConnectionManager
from polly_state.errors import (
    AuthenticationFailed,
    CircuitOpen,
    CommandRejected,
    DeadlineExceeded,
    Overloaded,
    StateError,
    StoreUnavailable,
)
from polly_state.events import CircuitChanged
from polly_state.settings import Bounds, BreakerSettings, Deadlines
from polly_state.stamps import HybridClock
from polly_state.store.redis import RedisStore
from polly_state.testing import FaultProxy, Server
from polly_state.testing.loopback import free_port
from tests.connection.peers import Memory, Peer, redis_like
from tests.outages import Record, in_thread, isolate, managed, settings_for, until
from tests.testing.wire import ask

NEVER = BreakerSettings(consecutive_failures=10_000, minimum_outcomes=10_000)
SLACK = 2.0
PATIENT = Deadlines(operation=10.0)


@pytest.fixture
async def own(binary):
    """A server to freeze and kill."""
    async with Server(binary) as server:
        yield server


@pytest.fixture
async def proxy(server):
    async with FaultProxy(server.url) as proxy:
        yield proxy


def store_over(manager) -> RedisStore:
    return RedisStore(manager, HybridClock())


async def gathered(*awaitables):
    return await asyncio.gather(*awaitables, return_exceptions=True)


async def failing(manager) -> StateError:
    try:
        await manager.send(("GET", "m:t:{x}"))
    except StateError as error:
        return error
    raise AssertionError("it should have failed")


def link_changes(manager) -> list[str]:
    return [event.state for event in manager.record.of(CircuitChanged) if event.circuit == "link"]


async def test_reads_that_a_reset_caught_are_sent_again_once(proxy):
    async with managed(proxy.url) as manager:
        store = store_over(manager)
        proxy.hold()
        reads = [asyncio.create_task(store.execute(Get(f"m:t:{{{n}}}"))) for n in range(5)]
        await until(lambda: manager.statistics().in_flight == 5)
        proxy.reset()
        proxy.heal()
        assert [answer.value for answer in await asyncio.gather(*reads)] == [None] * 5
        assert manager.statistics().retries == 5
        assert manager.statistics().connections == 2
        assert link_changes(manager) == []


async def test_one_reset_costs_none_of_fifty_readers_their_answer(proxy):
    async with managed(proxy.url) as manager:
        store = store_over(manager)
        proxy.hold()
        reads = [asyncio.create_task(store.execute(Get(f"m:t:{{{n}}}"))) for n in range(50)]
        await until(lambda: manager.statistics().in_flight == 50)
        proxy.reset()
        proxy.heal()
        outcomes = await gathered(*reads)
        assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []


async def test_a_cache_write_of_unknown_outcome_is_not_sent_again(proxy):
    async with managed(proxy.url, deadlines=PATIENT) as manager:
        store = store_over(manager)
        proxy.drop_replies()
        write = asyncio.create_task(store.execute(Set("m:t:{nx}", b"1", 5.0, Condition.IF_ABSENT)))
        await until(lambda: reply_lost(proxy))
        assert ask(direct(proxy), "EXISTS m:t:{nx}") == [b":1"]
        proxy.heal()
        with pytest.raises(StoreUnavailable) as caught:
            await write
        assert caught.value.maybe_applied
        assert manager.statistics().retries == 0


def reply_lost(proxy) -> bool:
    return any(link.lossy for link in proxy._links.values())


def direct(proxy) -> str:
    return f"redis://127.0.0.1:{proxy._upstream.port}/0"


async def test_an_addition_whose_reply_was_lost_counts_once(proxy):
    async with managed(proxy.url, namespace="m", deadlines=PATIENT) as manager:
        store = store_over(manager)
        key = "m:c:{once}"
        assert (await store.execute(Add(key, store.clock.stamp(), "0000000a", 9, 9))).value == 9
        proxy.drop_replies()
        addition = asyncio.create_task(store.execute(Add(key, store.clock.stamp(), "0000000a", 10, 1)))
        await until(lambda: reply_lost(proxy))
        assert ask(direct(proxy), f"STRLEN {key}") == [b":2"]
        proxy.heal()
        assert (await addition).value == 10
        assert manager.statistics().retries == 1
        assert (await store.execute(Count(key))).value == 10
        await manager.send(("DEL", key, companion(key)))


async def test_a_toggle_whose_reply_was_lost_turns_once(proxy, server):
    async with managed(proxy.url, namespace="m", deadlines=PATIENT) as manager, managed(server.url) as other:
        store = store_over(manager)
        key = "m:f:{once}"
        # A script that the server does not know yet would be asked for in the reply that is lost.
        await store.execute(ToggleField("m:f:{primer}", store.clock.stamp(), "f", b"true", b"false"))
        await manager.send(("DEL", "m:f:{primer}", companion("m:f:{primer}")))
        for others in (0, 1):
            proxy.drop_replies()
            mine = ToggleField(key, store.clock.stamp(), "f", b"true", b"false")
            toggle = asyncio.create_task(store.execute(mine))
            await until(lambda: reply_lost(proxy))
            assert ask(server.url, f"HGET {key} f") == [b"$4"]
            for _ in range(others):
                stamp = HybridClock().stamp()
                assert not (await store_over(other).execute(ToggleField(key, stamp, "f", b"true", b"false"))).value
            proxy.heal()
            assert (await toggle).value
            expected = b"false" if others else b"true"
            assert expected == (await store.execute(GetField(key, "f"))).value
            await manager.send(("DEL", key, companion(key)))


@pytest.mark.parametrize("sent", [True, False])
async def test_what_may_have_run_stays_so_when_the_second_try_fails(proxy, sent):
    async with managed(proxy.url, namespace="m") as manager:
        store = store_over(manager)
        key = "m:c:{unsure}"
        if sent:
            proxy.drop_replies()
        else:
            proxy.refuse()
            proxy.reset()
            await until(lambda: not manager.statistics().connected)
        addition = asyncio.create_task(store.execute(Add(key, store.clock.stamp(), "0000000a", 1, 1)))
        if sent:
            await until(lambda: ask(direct(proxy), f"EXISTS {key}") == [b":1"])
            proxy.refuse()
            proxy.reset()
        [outcome] = await gathered(addition)
        assert isinstance(outcome, StoreUnavailable)
        assert outcome.maybe_applied is sent
        ask(direct(proxy), f"DEL {key} {companion(key)}")


async def test_a_call_after_an_idle_reset_does_not_fail(proxy):
    async with managed(proxy.url) as manager:
        store = store_over(manager)
        for _ in range(5):
            proxy.reset()
            assert (await store.execute(Get("m:t:{x}"))).value is None
        assert link_changes(manager) == []


async def test_25_resets_do_not_open_the_circuit(proxy):
    async with managed(proxy.url) as manager:
        store = store_over(manager)
        for number in range(25):
            before = proxy.connections
            proxy.reset()
            await until(lambda before=before: proxy.connections > before)
            await until(lambda: manager.statistics().connected)
            outcomes = await gathered(*(store.execute(Get(f"m:t:{{{n}}}")) for n in range(10)))
            assert [getattr(outcome, "value", outcome) for outcome in outcomes] == [None] * 10, number
        assert link_changes(manager) == []
        assert proxy.connections == 26
        assert proxy.open == 1


@pytest.mark.parametrize("tasks", [1, 2, 3, 50])
async def test_a_freeze_opens_within_the_deadline_and_only_calls_in_flight_wait(own, tasks):
    async with managed(own.url) as manager:
        waits, unanswered, stop = [], [], []

        async def bot():
            while not stop:
                began = time.perf_counter()
                try:
                    await manager.send(("GET", "m:t:{x}"))
                    await asyncio.sleep(0)
                except StoreUnavailable as error:
                    waits.append(time.perf_counter() - began)
                    unanswered.extend([error] * (type(error) is not CircuitOpen))
                    await asyncio.sleep(0.01)

        bots = [asyncio.create_task(bot()) for _ in range(tasks)]
        await until(lambda: manager.statistics().commands > 20 * tasks)
        await in_thread(own.freeze)
        took = await until(lambda: not manager.circuits.link.closed)
        await until(lambda: len(waits) > 3 * tasks)
        stop.append(True)
        await asyncio.gather(*bots)
        assert took < 0.25 + SLACK
        assert max(waits) < 0.25 + SLACK
        assert 1 <= len(unanswered) <= tasks
        await in_thread(own.thaw)
        assert await until(lambda: manager.circuits.link.closed) < 1.25 + SLACK
        assert await manager.send(("ECHO", "back")) == b"back"


async def test_big_values_alone_open_the_circuit_of_a_frozen_server(own):
    async with managed(own.url) as manager:
        await in_thread(own.freeze)
        outcomes = await gathered(*(manager.send(("SET", "m:t:{x}", b"x" * 300_000)) for _ in range(5)))
        assert {type(outcome) for outcome in outcomes} <= {DeadlineExceeded, CircuitOpen}
        with pytest.raises(CircuitOpen):
            await manager.send(("SET", "m:t:{x}", b"x" * 300_000))


async def test_a_killed_server_opens_at_once_and_a_restarted_one_closes(own):
    # Whatever waited for a deadline here would not be done in time.
    async with managed(own.url, deadlines=Deadlines(operation=30.0)) as manager:
        await in_thread(own.kill)
        await until(lambda: not manager.circuits.link.closed)
        assert type(await failing(manager)) is CircuitOpen
        await in_thread(own.restart)
        assert await until(lambda: manager.circuits.link.closed) < 1.25 + SLACK
        assert await manager.send(("ECHO", "back")) == b"back"
        assert link_changes(manager) == ["open", "closed"]


async def test_retries_are_bounded_when_every_connection_fails():
    def answer(words):
        if words[0] == b"GET":
            gets.append(words)
            peer.writers[-1].transport.abort()
            return b""
        return redis_like(words)

    gets = []
    async with Peer(answer) as peer, managed(peer.url, breaker=NEVER) as manager:
        store = store_over(manager)
        for _ in range(40):
            await until(lambda: manager.statistics().connected)
            with pytest.raises(StoreUnavailable):
                await store.execute(Get("m:t:{x}"))
        assert 40 < len(gets) <= 40 + 20


async def test_no_command_is_sent_more_than_twice(proxy):
    async with managed(proxy.url, breaker=NEVER) as manager:
        store = store_over(manager)
        proxy.hold()
        read = asyncio.create_task(store.execute(Get("m:t:{x}")))
        await until(lambda: manager.statistics().in_flight)
        proxy.reset()
        await until(lambda: manager.statistics().retries)
        await until(lambda: proxy.open)
        proxy.reset()
        with pytest.raises(StoreUnavailable):
            await read
        assert manager.statistics().retries == 1


@pytest.mark.parametrize(
    ("code", "breaking", "mending"),
    [
        ("OOM", "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        ("NOREPLICAS", "CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
        ("READONLY", "REPLICAOF 127.0.0.1 {port}", "REPLICAOF NO ONE"),
    ],
)
async def test_a_server_that_refuses_writes_goes_on_with_reads(own, code, breaking, mending):
    async with managed(own.url, breaker=BreakerSettings(probe_delay=0.05)) as manager:
        store = store_over(manager)
        await store.execute(Add("m:c:{x}", store.clock.stamp(), "0000000a", 7, 7))
        ask(own.url, breaking.format(port=free_port()))
        with pytest.raises(StoreUnavailable, match=code) as caught:
            await store.execute(Add("m:c:{x}", store.clock.stamp(), "0000000a", 8, 1))
        assert not caught.value.maybe_applied
        assert (manager.circuits.link.state, manager.circuits.write.state) == (CircuitState.CLOSED, CircuitState.OPEN)
        assert (await store.execute(Count("m:c:{x}"))).value == 7
        ask(own.url, mending)
        assert await until(lambda: manager.circuits.write.closed) < 1.25 + SLACK
        assert link_changes(manager) == []
        assert (await store.execute(Add("m:c:{x}", store.clock.stamp(), "0000000a", 8, 1))).value == 8


@pytest.mark.blocking
async def test_a_server_whose_disk_fails_goes_on_with_reads(binary, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    async with (
        Server(binary, arguments=["--enable-protected-configs", "yes"]) as server,
        managed(server.url, breaker=BreakerSettings(probe_delay=0.05)) as manager,
    ):
        store = store_over(manager)
        await store.execute(Add("m:c:{x}", store.clock.stamp(), "0000000a", 7, 7))
        ask(server.url, "CONFIG SET save 3600000", f"CONFIG SET dir {gone}")
        ask(server.url, 'CONFIG SET save "3600 1000000"')
        gone.rmdir()
        ask(server.url, "BGSAVE")
        await until(lambda: ask(server.url, "SET probe 1")[0].startswith(b"-MISCONF"))
        with pytest.raises(StoreUnavailable, match="MISCONF"):
            await store.execute(Add("m:c:{x}", store.clock.stamp(), "0000000a", 8, 1))
        assert (await store.execute(Count("m:c:{x}"))).value == 7
        ask(server.url, "CONFIG SET stop-writes-on-bgsave-error no")
        assert await until(lambda: manager.circuits.write.closed) < 1.25 + SLACK


async def test_a_server_busy_with_a_script_is_away_until_it_is_done(own):
    async with managed(own.url, breaker=BreakerSettings(probe_delay=0.05)) as manager:
        ask(own.url, "CONFIG SET lua-time-limit 1")
        loop = asyncio.create_task(in_thread(lambda: ask(own.url, 'EVAL "while true do end" 0')))
        await until(lambda: ask(own.url, "GET x")[0].startswith(b"-BUSY"))
        store = store_over(manager)
        with pytest.raises(StoreUnavailable, match="BUSY"):
            await store.execute(Get("m:t:{x}"))
        assert not manager.circuits.link.closed
        ask(own.url, "SCRIPT KILL")
        await loop
        assert await until(lambda: manager.circuits.link.closed) < 1.25 + SLACK


async def test_a_loading_server_stays_away_without_flapping():
    loading = []

    def answer(words):
        if loading and words[0] in (b"GET", b"SET"):
            return b"-LOADING Redis is loading the dataset in memory\r\n"
        return memory(words)

    memory = Memory()
    quick = BreakerSettings(probe_delay=0.02, probe_delay_cap=0.02)
    async with Peer(answer) as peer, managed(peer.url, breaker=quick) as manager:
        store = store_over(manager)
        loading.append(True)
        with pytest.raises(StoreUnavailable, match="LOADING"):
            await store.execute(Get("m:t:{x}"))
        probes = len(peer.commands)
        await until(lambda: len(peer.commands) > probes + 12)
        assert link_changes(manager) == ["open"]
        assert manager.circuits.write.closed
        loading.clear()
        await until(lambda: manager.circuits.link.closed)
        assert link_changes(manager) == ["open", "closed"]


async def test_a_password_changed_under_way_is_a_fault_of_the_configuration(binary):
    quick = BreakerSettings(probe_delay=0.02, probe_delay_misconfigured=0.05)
    async with Server(binary, password="first") as server, managed(server.url, breaker=quick) as manager:
        changed = f"redis://default:second@127.0.0.1:{server.port}"
        ask(server.url, "AUTH first", "CONFIG SET requirepass second", "CLIENT KILL TYPE normal")
        await until(lambda: manager.circuits.fault is not None)
        for _ in range(3):
            error = await failing(manager)
            assert type(error) is AuthenticationFailed
            assert "REDIS_PASSWORD" in str(error)
            assert "first" not in str(error)
        assert manager.circuits.link.state in (CircuitState.MISCONFIGURED, CircuitState.PROBING)
        ask(changed, "AUTH second", "CONFIG SET requirepass first")
        await until(lambda: manager.circuits.link.closed)
        assert manager.circuits.fault is None
        assert await manager.send(("ECHO", "back")) == b"back"


async def test_a_wrong_password_is_not_tried_fast(binary):
    async with Server(binary, password="right") as server, FaultProxy(server.url) as proxy:
        settings = settings_for(proxy.url.replace("right", "wrong"), breaker=BreakerSettings(probe_delay=0.02))
        manager = ConnectionManager(settings.address, settings, clock=HybridClock(), observe=Record())
        with pytest.raises(AuthenticationFailed):
            await manager.start()
        for _ in range(50):
            assert type(await failing(manager)) is AuthenticationFailed
        await asyncio.sleep(0.1)
        assert proxy.connections <= 2
        await manager.aclose()


async def test_a_start_without_redis_is_degraded_unless_required():
    url = f"redis://127.0.0.1:{free_port()}"
    async with managed(url) as manager:
        assert type(await failing(manager)) is CircuitOpen
    settings = settings_for(url, required=True)
    strict = ConnectionManager(settings.address, settings, clock=HybridClock(), observe=Record())
    with pytest.raises(StoreUnavailable, match="no connection"):
        await strict.start()
    await strict.aclose()


async def test_isolation_keeps_away_and_ends_by_itself(proxy):
    async with managed(proxy.url, breaker=BreakerSettings(probe_delay=0.02)) as manager:
        isolate(manager, 0.5)
        assert type(await failing(manager)) is CircuitOpen
        before = proxy.connections
        await asyncio.sleep(0.05)
        assert proxy.connections == before
        await until(lambda: manager.circuits.link.closed)
        assert await manager.send(("ECHO", "back")) == b"back"
        await until(lambda: proxy.open == 1)
        assert link_changes(manager) == ["isolated", "open", "closed"]


async def test_isolation_during_a_reconnect_holds(proxy):
    async with managed(proxy.url, breaker=BreakerSettings(probe_delay=0.02)) as manager:
        before = proxy.connections
        proxy.hold()
        proxy.reset()
        await until(lambda: proxy.connections > before)
        isolate(manager, 60)
        proxy.heal()
        await asyncio.sleep(0.05)
        assert type(await failing(manager)) is CircuitOpen
        assert not manager.statistics().connected
        await until(lambda: proxy.open == 0)


async def test_the_canary_is_alone_and_no_user_call_probes():
    memory = Memory()
    async with Peer(memory) as peer, managed(peer.url) as manager:
        memory.quiet |= {b"HELLO", b"GET"}
        with pytest.raises(DeadlineExceeded):
            await manager.send(("GET", "m:t:{x}"))
        before, most = len(peer.writers), 0
        end = time.perf_counter() + 0.9
        while time.perf_counter() < end:
            assert type(await failing(manager)) is CircuitOpen
            most = max(most, peer.open)
            await asyncio.sleep(0.002)
        assert most <= 1
        assert 1 <= len(peer.writers) - before <= 6


async def test_a_connection_that_fails_its_first_question_is_closed():
    memory = Memory()
    quick = BreakerSettings(probe_delay=0.01, probe_delay_cap=0.01)
    brief = Deadlines(operation=0.03)
    async with Peer(memory) as peer, managed(peer.url, breaker=quick, deadlines=brief) as manager:
        memory.quiet.add(b"TIME")
        isolate(manager, 0.01)
        made = manager.statistics().connections
        await until(lambda: manager.statistics().connections > made + 3)
        assert peer.open <= 2
        memory.quiet.clear()
        await until(lambda: manager.circuits.link.closed)
        await until(lambda: peer.open == 1)


async def test_a_redis_that_forgets_what_it_was_told_stays_away():
    memory = Memory()
    quick = BreakerSettings(probe_delay=0.01, probe_delay_cap=0.01)
    async with Peer(memory) as peer, managed(peer.url, breaker=quick) as manager:
        isolate(manager, 0.0)
        peer.answer = redis_like
        commands = len(peer.commands)
        await until(lambda: len(peer.commands) > commands + 10)
        assert not manager.circuits.link.closed
        peer.answer = memory
        await until(lambda: manager.circuits.link.closed)


async def test_a_reply_too_many_costs_a_reconnect_and_no_wrong_answer(proxy):
    async with managed(proxy.url) as manager:
        store = store_over(manager)
        for number in range(10):
            proxy.extra_reply(b"$5\r\nwrong\r\n")
            await until(lambda number=number: manager.statistics().connections == number + 2)
            await until(lambda: manager.statistics().connected)
            assert (await store.execute(Get("m:t:{x}"))).value is None
        assert link_changes(manager) == []


async def test_overload_is_refused_at_once_and_not_sent_again(own):
    async with managed(own.url, bounds=Bounds(in_flight_commands=3)) as manager:
        store = store_over(manager)
        outcomes = await gathered(*(store.execute(Get("m:t:{x}")) for _ in range(10)))
        assert sum(isinstance(outcome, Overloaded) for outcome in outcomes) == 7
        assert manager.statistics().retries == 0
        assert manager.circuits.link.closed


async def test_a_rejected_command_is_a_success_for_the_link(server):
    async with managed(server.url) as manager:
        store = store_over(manager)
        await manager.send(("SET", "m:t:{text}", "plain"))
        for _ in range(20):
            with pytest.raises(CommandRejected, match="WRONGTYPE"):
                await store.execute(GetField("m:t:{text}", "f"))
        assert manager.circuits.link.closed
        await manager.send(("DEL", "m:t:{text}"))


@pytest.mark.parametrize("weather", ["fair", "held", "refused", "isolated", "reset"])
async def test_closing_leaves_no_task_and_no_connection(proxy, weather):
    before = asyncio.all_tasks()
    settings = settings_for(proxy.url, breaker=BreakerSettings(probe_delay=0.01))
    manager = ConnectionManager(settings.address, settings, clock=HybridClock(), observe=Record())
    await manager.start()
    await manager.send(("PING",))
    match weather:
        case "held":
            proxy.hold()
            await failing(manager)
            await until(lambda: manager.circuits.link.state is CircuitState.PROBING)
        case "refused":
            proxy.refuse()
            proxy.reset()
            await until(lambda: not manager.circuits.link.closed)
        case "isolated":
            isolate(manager, 0.01)
        case "reset":
            proxy.reset()
            await asyncio.sleep(0)
    await manager.aclose()
    proxy.heal()
    assert set() == {task for task in asyncio.all_tasks() - before if task.get_name().startswith("polly_state")}
    await until(lambda: proxy.open == 0)
    assert isinstance(await failing(manager), StoreUnavailable)


async def test_closing_ends_the_connections_of_big_values_too(proxy):
    async with managed(proxy.url, deadlines=Deadlines(operation=5.0)) as manager:
        proxy.hold()
        big = asyncio.create_task(manager.send(("SET", "m:t:{big}", b"x" * 300_000)))
        await until(lambda: proxy.connections == 2)
        await manager.aclose()
        proxy.heal()
        [outcome] = await gathered(big)
        assert isinstance(outcome, StoreUnavailable)
        await until(lambda: proxy.open == 0, within=4.0)


async def test_statistics_count_what_happened(proxy):
    async with managed(proxy.url) as manager:
        before = manager.statistics().commands
        await asyncio.gather(*(manager.send(("PING",)) for _ in range(20)))
        proxy.reset()
        await until(lambda: manager.statistics().connections == 2 and manager.statistics().connected)
        statistics = manager.statistics()
        # One for each connection asks for the server's time.
        assert before + 20 + 1 == statistics.commands
        assert (statistics.in_flight, statistics.overdue, statistics.retries) == (0, 0, 0)
