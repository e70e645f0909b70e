"""The link: order, sharing, deadlines, bounds, and what is known of a command when the peer fails."""

from __future__ import annotations

import asyncio
import gc
import random
import time
import warnings

import pytest

from polly_state.commands import Add, Count, companion
from polly_state.connection.packing import pack
from polly_state.connection.replies import LinkLost, ReplyError
from polly_state.errors import DeadlineExceeded, Overloaded
from polly_state.settings import Bounds, Deadlines
from polly_state.stamps import HybridClock
from polly_state.store.redis import RedisStore
from polly_state.testing import FaultProxy
from tests.connection.peers import Peer, echo, linked, redis_like
from tests.outages import managed, state_at, until

CALLERS = 20_000


def ask(link, word):
    return link.submit(pack(("ECHO", word)))


async def gathered(*futures):
    return await asyncio.gather(*futures, return_exceptions=True)


async def test_replies_come_in_the_order_of_the_commands():
    async with Peer() as peer, linked(peer.port) as link:
        expected = [b"%d" % n for n in range(500)]
        assert expected == await asyncio.gather(*(ask(link, word) for word in expected))
        assert expected == [words[-1] for words in peer.commands]


async def test_commands_of_one_tick_leave_in_one_write():
    async with Peer() as peer, linked(peer.port) as link:
        await asyncio.gather(*(ask(link, str(n)) for n in range(3)))
        link.writes.clear()
        await asyncio.gather(*(ask(link, str(n)) for n in range(5)))
        assert len(link.writes) == 1


async def test_many_commands_of_one_tick_leave_in_two_writes_at_most():
    async with Peer() as peer, linked(peer.port) as link:
        await asyncio.gather(*(ask(link, str(n)) for n in range(3)))
        for count in (20, 100, 1000):
            link.writes.clear()
            assert [b"%d" % n for n in range(count)] == await asyncio.gather(*(ask(link, str(n)) for n in range(count)))
            # The server may start on the first ones while the others are still coming.
            assert 1 <= len(link.writes) <= 2


async def test_a_lone_caller_writes_at_once():
    async with Peer() as peer, linked(peer.port) as link:
        future = ask(link, "alone")
        assert len(link.writes) == 1
        assert await future == b"alone"


async def test_a_cancelled_caller_leaves_connection_and_order_intact():
    async with Peer() as peer, linked(peer.port) as link:
        futures = [ask(link, str(n)) for n in range(100)]
        for future in futures[::2]:
            future.cancel()
        assert [b"%d" % n for n in range(1, 100, 2)] == await asyncio.gather(*futures[1::2])
        assert await ask(link, "next") == b"next"
        assert link.alive
        assert len(peer.writers) == 1


@pytest.fixture(params=["valkey", "redis"])
def each_server(request):
    return request.getfixturevalue(f"{request.param}_server")


async def test_half_of_20000_cancelled_callers_cost_no_connection_and_no_reply(each_server):
    chance = random.Random(7)
    async with managed(each_server.url, namespace="cancel") as manager:
        received = await connections_received(manager)
        tasks, wrong = [], []

        async def call(number):
            reply = await manager.send(("ECHO", str(number)))
            if reply != b"%d" % number:
                wrong.append((number, reply))

        for number in range(CALLERS):
            tasks.append(asyncio.create_task(call(number)))
            if number % 100 == 99:
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                for task in chance.sample(tasks[-100:], 50):
                    task.cancel()
        outcomes = await gathered(*tasks)
        assert wrong == []
        assert {type(outcome) for outcome in outcomes} <= {type(None), asyncio.CancelledError}
        assert sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes) > CALLERS * 0.4
        assert received == await connections_received(manager)
        assert manager.statistics().connections == 1


async def connections_received(manager) -> int:
    reply = await manager.send(("INFO", "stats"))
    return int(str(reply).partition("total_connections_received:")[2].partition("\\r")[0])


async def test_too_many_commands_in_flight_are_refused_at_once():
    async with Peer(lambda words: None) as peer, linked(peer.port, in_flight_commands=10) as link:
        futures = [ask(link, str(n)) for n in range(10)]
        with pytest.raises(Overloaded, match="10 commands"):
            ask(link, "11")
        await asyncio.sleep(0)
        assert len(peer.commands) <= 10
        link.close("done")
        await gathered(*futures)


async def test_too_many_bytes_in_flight_are_refused_at_once():
    async with Peer(lambda words: None) as peer, linked(peer.port, in_flight_bytes=1000) as link:
        futures = [ask(link, "x" * 400), ask(link, "x" * 400)]
        with pytest.raises(Overloaded, match="bytes"):
            ask(link, "x" * 400)
        link.close("done")
        await gathered(*futures)


async def test_answered_commands_make_room():
    async with Peer() as peer, linked(peer.port, in_flight_commands=10, in_flight_bytes=1000) as link:
        for _ in range(50):
            assert await asyncio.gather(*(ask(link, "x" * 50) for _ in range(8))) == [b"x" * 50] * 8


async def test_overload_never_trips_the_breaker(server):
    async with managed(server.url, bounds=Bounds(in_flight_commands=5)) as manager:
        outcomes = []
        for _ in range(100):
            try:
                outcomes.append(manager.send(("PING",)))
            except Overloaded as error:
                outcomes.append(error)
        assert sum(isinstance(outcome, Overloaded) for outcome in outcomes) == 95
        await asyncio.gather(*(outcome for outcome in outcomes if not isinstance(outcome, Overloaded)))
        assert manager.circuits.link.closed
        assert await manager.send(("PING",)) in (b"PONG", "PONG")
        assert manager.statistics().connections == 1


async def test_one_sweep_ends_every_call_of_a_silent_peer_at_its_deadline():
    async with Peer(lambda words: None) as peer, linked(peer.port, deadline=0.1) as link:
        began = time.perf_counter()
        outcomes = await gathered(*(ask(link, str(n)) for n in range(1000)))
        # One after another they would take 100 s.
        assert 0.1 <= time.perf_counter() - began < 5.0
        assert {type(outcome) for outcome in outcomes} == {DeadlineExceeded}
        assert all(outcome.maybe_applied for outcome in outcomes)
        # The lone first caller was written a tick before the others.
        assert sum(count for count, _ in link.listener.late) == 1000
        assert len(link.listener.late) <= 2
        assert all(silent for _, silent in link.listener.late)


async def test_calls_made_later_have_their_own_deadline():
    async with Peer(lambda words: None) as peer, linked(peer.port, deadline=0.6) as link:
        first = asyncio.create_task(gathered(ask(link, "first")))
        await asyncio.sleep(0.3)
        second = asyncio.create_task(gathered(ask(link, "second")))
        [outcome] = await first
        assert type(outcome) is DeadlineExceeded
        assert not second.done()
        [outcome] = await second
        assert type(outcome) is DeadlineExceeded


async def test_a_slow_peer_is_not_a_silent_one():
    quiet = {b"never"}
    async with (
        Peer(lambda words: None if words[-1] in quiet else echo(words)) as peer,
        linked(peer.port, deadline=0.5) as link,
    ):
        overdue = ask(link, "never")
        await until(lambda: peer.commands)
        await asyncio.sleep(0.25)
        link.data_received(b">1\r\n+news\r\n")
        await asyncio.sleep(0.1)
        # However late the loop comes to it.
        time.sleep(0.4)  # noqa: ASYNC251
        with pytest.raises(DeadlineExceeded):
            await overdue
        assert link.listener.late == [(1, False)]


async def test_a_peer_that_stops_between_two_callers_is_silent_all_the_same():
    async with (
        Peer(lambda words: echo(words) if words[-1] == b"answered" else None) as peer,
        linked(peer.port, deadline=0.5) as link,
    ):
        answered = ask(link, "answered")
        early = ask(link, "early")
        await answered
        late = ask(link, "late")
        await gathered(early, late)
        # One of the two was sent before the last reply came, and none has come since.
        assert link.listener.late[-1][1]


async def test_a_reply_after_its_deadline_reaches_nobody_else():
    held = []

    def answer(words):
        held.append(echo(words))
        return None if len(held) == 1 else b"".join(held)

    async with Peer(answer) as peer, linked(peer.port, deadline=0.5) as link:
        with pytest.raises(DeadlineExceeded):
            await ask(link, "first")
        assert await ask(link, "second") == b"second"


async def test_what_a_peer_never_took_is_certainly_unsent():
    async with Peer() as peer, linked(peer.port, deadline=5.0) as link:
        peer.reading.clear()
        block = "x" * 1_000_000
        sent = []
        while link._writable:
            sent.append(ask(link, block))
            await asyncio.sleep(0)
        kept = [ask(link, "later") for _ in range(7)]
        await asyncio.sleep(0)
        peer.writers[0].transport.abort()
        outcomes = await gathered(*sent, *kept)
        assert {type(outcome) for outcome in outcomes} == {LinkLost}
        assert [True] * len(sent) == [outcome.maybe_applied for outcome in outcomes[: len(sent)]]
        assert [outcome.maybe_applied for outcome in outcomes[-7:]] == [False] * 7
        [(_, unsent, unknown)] = link.listener.losses
        assert (7, len(sent)) == (unsent, unknown)


async def test_what_waited_for_a_slow_peer_leaves_when_it_reads_again():
    async with Peer() as peer, linked(peer.port, deadline=5.0) as link:
        peer.reading.clear()
        expected = []
        while link._writable:
            expected.append(ask(link, "x" * 1_000_000))
            await asyncio.sleep(0)
        kept = [ask(link, str(n)) for n in range(7)]
        peer.reading.set()
        assert [b"%d" % n for n in range(7)] == await asyncio.gather(*kept)
        assert all(len(reply) == 1_000_000 for reply in await asyncio.gather(*expected))


async def test_calls_of_the_same_tick_as_the_loss_are_unsent():
    async with Peer(lambda words: None) as peer, linked(peer.port) as link:
        known = ask(link, "sent")
        await until(lambda: peer.commands)
        late = [ask(link, "unsent") for _ in range(3)]
        link.connection_lost(ConnectionResetError())
        assert (await gathered(known))[0].maybe_applied
        assert [outcome.maybe_applied for outcome in await gathered(*late)] == [False] * 3


async def test_a_lost_link_refuses_at_once_and_says_unsent():
    async with Peer() as peer, linked(peer.port) as link:
        peer.writers.clear()
        link.close("for the test")
        with pytest.raises(LinkLost, match="for the test") as caught:
            ask(link, "late")
        assert not caught.value.maybe_applied


@pytest.mark.parametrize(
    "nonsense",
    [b"garbage\r\n", b"$-7\r\n", b"\x00" * 64, b":12a\r\n"],
    ids=["garbage", "length", "zeros", "number"],
)
async def test_bytes_that_are_no_reply_end_the_link_and_reach_nobody(nonsense):
    async with Peer(lambda words: nonsense) as peer, linked(peer.port, deadline=0.1) as link:
        outcomes = await gathered(*(ask(link, str(n)) for n in range(3)))
        assert {type(outcome) for outcome in outcomes} <= {LinkLost, DeadlineExceeded}
        assert all(outcome.maybe_applied for outcome in outcomes)


async def test_a_reply_that_nobody_asked_for_ends_the_link():
    async with Peer() as peer, linked(peer.port) as link:
        assert await ask(link, "asked") == b"asked"
        peer.say(b"+surprise\r\n")
        await until(lambda: not link.alive)
        assert link.listener.losses == [("the peer does not keep to the protocol", 0, 0)]


async def test_a_truncated_bulk_and_a_close_are_a_loss():
    async with Peer() as peer, linked(peer.port) as link:
        peer.answer = lambda words: b"$10\r\nhalf"
        future = ask(link, "whole")
        await until(lambda: peer.commands)
        peer.writers[0].close()
        [outcome] = await gathered(future)
        assert type(outcome) is LinkLost
        assert outcome.maybe_applied


async def test_replies_in_slices_of_one_byte_are_whole_replies(server):
    async with FaultProxy(server.url) as proxy, managed(proxy.url, deadlines=Deadlines(operation=10.0)) as manager:
        proxy.slice(1)
        expected = [b"%d" % n for n in range(20)]
        assert expected == await asyncio.gather(*(manager.send(("ECHO", word)) for word in expected))


async def test_pushes_are_not_taken_for_replies():
    news = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n"
    async with Peer(lambda words: news + echo(words) + news) as peer, linked(peer.port) as link:
        heard = []
        link.on_push = heard.append
        assert await asyncio.gather(ask(link, "1"), ask(link, "2")) == [b"1", b"2"]
        await until(lambda: len(heard) == 4)
        assert all(list(message) == [b"invalidate", [b"key"]] for message in heard)


async def test_errors_are_handed_out_in_order_and_end_nothing():
    async with (
        Peer(lambda words: b"-ERR no\r\n" if words[-1] == b"bad" else echo(words)) as peer,
        linked(peer.port) as link,
    ):
        good, bad, better = await gathered(ask(link, "good"), ask(link, "bad"), ask(link, "better"))
        assert (good, better) == (b"good", b"better")
        assert type(bad) is ReplyError
        assert link.alive


async def test_big_values_go_over_a_connection_of_their_own(server):
    async with managed(server.url, namespace="big") as manager:
        big = b"x" * 300_000
        await manager.send(("SET", "big:t:{v}", big))
        assert manager.statistics().connections == 2
        await manager.send(("SET", "big:t:{v}", big))
        assert manager.statistics().connections == 2
        await manager.send(("DEL", "big:t:{v}"))


async def test_big_values_do_not_delay_others():
    slow = []

    def answer(words):
        if words[0] == b"SET":
            slow.append(words)
            return None
        return redis_like(words)

    async with Peer(answer) as peer, managed(peer.url) as manager:
        big = asyncio.create_task(manager.send(("SET", "k", b"x" * 300_000)))
        await until(lambda: slow)
        await asyncio.gather(*(manager.send(("GET", "k")) for _ in range(20)))
        assert not big.done()
        big.cancel()
        await gathered(big)


async def test_only_so_many_connections_are_made_for_big_values(server):
    async with managed(server.url, bounds=Bounds(dedicated_connections=2)) as manager:
        sets = [manager.send(("SET", f"big:t:{{{n}}}", b"x" * 100_000)) for n in range(12)]
        await asyncio.gather(*sets)
        assert 2 <= manager.statistics().connections <= 3
        await asyncio.gather(*(manager.send(("DEL", f"big:t:{{{n}}}")) for n in range(12)))


@pytest.mark.blocking
async def test_closed_and_lost_links_leave_no_warning():
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        async with Peer(lambda words: None) as peer:
            async with linked(peer.port) as link:
                future = ask(link, "never")
                await asyncio.sleep(0)
            await gathered(future)
            async with linked(peer.port) as link:
                future = ask(link, "never")
                await until(lambda: peer.open)
                for writer in peer.writers:
                    writer.transport.abort()
                await gathered(future)
            del link, future
        await asyncio.sleep(0.01)
        gc.collect()
    assert [str(each.message) for each in found] == []


async def test_replies_keep_their_order_when_the_store_sends_scripts_and_reads(server):
    async with managed(server.url, namespace="order") as manager:
        store = RedisStore(manager, HybridClock())
        key = "order:c:{x}"
        adds = [store.execute(Add(key, store.clock.stamp(), "00000001", total, 1)) for total in range(1, 51)]
        assert list(range(1, 51)) == [answer.value for answer in await asyncio.gather(*adds)]
        assert (await store.execute(Count(key))).value == 50
        await manager.send(("DEL", key, companion(key)))


async def test_a_second_use_finds_the_same_connection(server):
    async with state_at(server.url) as state:
        for _ in range(10):
            await state.ping()
        assert state.statistics().connection.connections == 1
