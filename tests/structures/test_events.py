"""Events: typed messages to whoever listens, here at once, elsewhere through Redis, and a gap is told."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import pytest

from polly_state import Ack, Bounds, BreakerSettings, Gap, Mode, PollyState, UnsupportedValue
from polly_state.commands import Publish
from polly_state.events import MessageUnreadable
from polly_state.store.channels import Topic
from polly_state.structures.outlet import Outlet
from polly_state.testing import FaultProxy, Server
from tests.outages import Record, in_thread, state_at, until
from tests.services.conftest import anywhere, everywhere  # noqa: F401
from tests.testing.wire import ask

QUICK = BreakerSettings(probe_delay=0.02, probe_delay_cap=0.05)
IDS = ["r?", "r*", ("部屋", 1), "a:b\n"]


@dataclass
class Moved:
    user: int
    room: str


@pytest.fixture
def namespace():
    return f"events-{secrets.token_hex(4)}"


@asynccontextmanager
async def listening(state, id="a", declared=int, **options):
    """What someone hears, from when Redis tells it on."""
    heard, events = [], state.events("e", declared)

    async def listen():
        async for message in events.listen(id, **options):
            heard.append(message)  # noqa: PERF401 - they come one by one

    task = asyncio.create_task(listen())
    await asyncio.sleep(0)
    topic = Topic(events._key(id))
    await until(lambda: state._channels.hears(topic) or state.mode is Mode.DEGRADED)
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_messages_come_to_all_who_listen_to_their_id_and_in_order(anywhere):  # noqa: F811
    events = anywhere.events("e", Moved)
    assert await events.publish("nobody", Moved(1, "x")) >= Ack.LOCAL_VOLATILE
    async with (
        listening(anywhere, IDS[0], Moved) as first,
        listening(anywhere, IDS[0], Moved) as again,
        listening(anywhere, IDS[1], Moved) as second,
        listening(anywhere, IDS[2], Moved) as third,
    ):
        for number in range(20):
            for name in IDS:
                await events.publish(name, Moved(number, str(name)))
        await until(lambda: len(first) == len(again) == len(second) == len(third) == 20)
        await asyncio.sleep(0.02)
        for name, heard in zip(IDS, (first, second, third), strict=False):
            assert heard == [Moved(number, str(name)) for number in range(20)]
        assert again == first
    with pytest.raises(UnsupportedValue):
        await events.publish("a", "no such thing")


async def test_messages_come_to_other_processes_and_once_to_this_one(server, namespace):
    async with (
        state_at(server.url, namespace=namespace) as one,
        state_at(server.url, namespace=namespace) as two,
        listening(one) as here,
        listening(two) as there,
    ):
        for number in range(100):
            assert await (one, two)[number % 2].events("e", int).publish("a", number) is Ack.REMOTE
        await until(lambda: len(here) >= 100 and len(there) >= 100)
        await asyncio.sleep(0.05)
        for heard in (here, there):
            assert sorted(heard) == list(range(100))
            # The messages of one publisher come in their order.
            assert [number for number in heard if number % 2] == list(range(1, 100, 2))


async def test_an_outage_is_bridged_here_and_told_as_a_gap(server, namespace):
    async with (
        FaultProxy(server.url) as proxy,
        state_at(proxy.url, namespace=namespace, breaker=QUICK) as state,
        state_at(server.url, namespace=namespace) as other,
        listening(state) as heard,
    ):
        await other.events("e", int).publish("a", 1)
        await until(lambda: heard == [1])
        proxy.refuse()
        proxy.reset()
        await until(lambda: state.mode is Mode.DEGRADED)
        assert await state.events("e", int).publish("a", 2) is Ack.LOCAL_VOLATILE
        await other.events("e", int).publish("a", -1)
        await until(lambda: heard == [1, 2])
        async with listening(state) as late:
            await state.events("e", int).publish("a", 3)
            await until(lambda: late == [3])
            proxy.heal()
            await until(lambda: heard[-1] == late[-1] == Gap(None))
            await until(lambda: state.mode is Mode.CONNECTED)
            await other.events("e", int).publish("a", 4)
            await until(lambda: heard == [1, 2, 3, Gap(None), 4])
            await until(lambda: late == [3, Gap(None), 4])


async def test_to_publish_is_the_same_on_all_stores(store):
    assert await store.do(Publish(store.key(), b"x")) is True


async def test_a_hung_server_is_a_gap_too(binary, namespace):
    async with (
        Server(binary) as server,
        state_at(server.url, namespace=namespace, breaker=QUICK, near=False) as state,
        listening(state) as heard,
    ):
        await in_thread(server.freeze)
        await until(lambda: state.mode is Mode.DEGRADED)
        assert await state.events("e", int).publish("a", 1) is Ack.LOCAL_VOLATILE
        await in_thread(server.thaw)
        await until(lambda: heard == [1, Gap(None)])


async def test_what_is_no_message_is_skipped_and_told_of(server, namespace):
    record = Record()
    async with state_at(server.url, [record], namespace=namespace) as state, listening(state) as heard:
        key = state.events("e", int)._key("a")
        stamp = "0" * 24
        for content in ("x", "1", f"{stamp}x", f'{stamp}"text"', f"{stamp}null", "0" * 30_000):
            assert ask(server.url, f"PUBLISH {key} {content}") == [b":1"]
        ask(server.url, f"PUBLISH {key} {stamp}7")
        await until(lambda: heard == [7])
        assert record.of(MessageUnreadable) == [MessageUnreadable("e")] * 6


async def test_who_is_too_slow_finds_the_newest_and_how_many_are_missing():
    async with PollyState() as state:
        events = state.events("e", int)
        async with aclosing(events.listen("a", buffer=3)) as messages:
            first = asyncio.create_task(anext(messages))
            await asyncio.sleep(0)
            for number in range(10):
                await events.publish("a", number)
            assert await first == Gap(7)
            assert [await anext(messages) for _ in range(3)] == [7, 8, 9]
            await events.publish("a", 10)
            assert await anext(messages) == 10
        for buffer in (0, -1):
            with pytest.raises(ValueError, match="1"):
                await anext(events.listen("a", buffer=buffer))


async def test_what_waits_is_bounded_in_bytes_too_and_a_dropped_gap_stays_one():
    outlet = Outlet(b"other", 100, 50)
    outlet.lost()
    outlet.heard()
    for _ in range(10):
        outlet.told(b"x" * 20, here=True)
    assert [await outlet.take() for _ in range(3)] == [Gap(None), b"x" * 20, b"x" * 20]
    for _ in range(4):
        outlet.told(b"x" * 100, here=True)
    assert [await outlet.take() for _ in range(2)] == [Gap(3), b"x" * 100]


async def test_a_listener_that_is_cancelled_takes_nothing_from_the_others(anywhere):  # noqa: F811
    async with listening(anywhere) as heard:
        async with listening(anywhere) as other:
            await anywhere.events("e", int).publish("a", 1)
            await until(lambda: heard == other == [1])
        await anywhere.events("e", int).publish("a", 2)
        await until(lambda: heard == [1, 2])
        assert other == [1]
    assert anywhere._channels.topics == set()


async def test_who_listens_takes_no_connection_from_large_commands(server, namespace):
    async with (
        state_at(server.url, namespace=namespace, bounds=Bounds(dedicated_connections=1)) as state,
        listening(state) as heard,
    ):
        assert await state.map("v", str).set("a", secrets.token_hex(100_000)) is Ack.REMOTE
        await state.events("e", int).publish("a", 1)
        await until(lambda: heard == [1])


async def test_who_listens_or_watches_when_all_is_closed_is_told(everywhere):  # noqa: F811
    async with PollyState(everywhere, observers=()) as state:
        events = state.events("e", int)
        endless = (events.listen("a"), state.map("v", int).watch("a"), state.queue("q", int).listen("a"))
        assert await anext(endless[1]) is None
        waiting = [asyncio.ensure_future(anext(each)) for each in endless]
        await asyncio.sleep(0.05)
    for told in await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10):
        assert isinstance(told, RuntimeError)
        assert "closed" in str(told)
    with pytest.raises(RuntimeError, match="closed"):
        await anext(events.listen("a"))


async def test_who_listens_on_another_event_loop_is_told(anywhere):  # noqa: F811
    events = anywhere.events("e", int)

    def elsewhere():
        with pytest.raises(RuntimeError, match="another event loop"):
            asyncio.run(asyncio.wait_for(anext(events.listen("a")), 5))

    await in_thread(elsewhere)
    async with listening(anywhere) as heard:
        await events.publish("a", 1)
        await until(lambda: heard == [1])
