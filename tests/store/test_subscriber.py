"""The subscriber: what others do is told, a gap is told as well, and nothing is sent for nobody."""

from __future__ import annotations

import asyncio
import gc
import re
import secrets
import time
from contextlib import ExitStack, asynccontextmanager

import pytest

from polly_state import Bounds, BreakerSettings, Deadlines, Mode
from polly_state.store import subscriber
from polly_state.store.channels import Channels, Listener, Topic
from polly_state.store.subscriber import ANSWER, BEAT, LONGEST_PAUSE, Subscriber
from polly_state.testing import FaultProxy, Server
from tests.outages import in_thread, managed, state_at, until
from tests.testing.wire import ask

BRIEF = Deadlines(operation=0.3, connect=0.3)
QUICK = BreakerSettings(probe_delay=0.02, probe_delay_cap=0.05)


class Ear(Listener):
    """Someone who notes what is told."""

    def __init__(self):
        self.heard_of = []

    def told(self, message, *, here):
        assert not here
        self.heard_of.append(message)

    def stirred(self):
        self.heard_of.append("stirred")

    def heard(self):
        self.heard_of.append("heard")

    def lost(self):
        self.heard_of.append("lost")


@asynccontextmanager
async def subscribed(url, beat=(0.02, 0.03), linger=0.1, **parts):
    """Channels with a subscriber, and nothing else that would notice anything."""
    async with managed(url, breaker=QUICK, **parts) as manager:
        channels = Channels()
        channels.manager, channels.subscriber = manager, Subscriber(manager, channels, beat=beat, linger=linger)
        try:
            yield channels
        finally:
            await channels.subscriber.aclose()


@pytest.fixture
def name():
    return f"sub-{secrets.token_hex(4)}"


@pytest.fixture
async def proxy(server):
    async with FaultProxy(server.url) as proxy:
        yield proxy


async def test_messages_come_to_who_listens_and_one_connection_brings_them_all(server, name):
    async with subscribed(server.url, linger=60) as channels:
        ears = {f"{name}{number}": Ear() for number in range(20)}
        assert channels.manager.statistics().connections == 1
        with ExitStack() as listening:
            for channel, ear in ears.items():
                listening.enter_context(channels.listening(Topic(channel), ear))
                await asyncio.sleep(0)
            await until(lambda: all(channels.hears(Topic(channel)) for channel in ears))
            ask(server.url, *(f"PUBLISH {channel} {channel}" for channel in ears))
            await until(lambda: all(ear.heard_of[-1] == channel.encode() for channel, ear in ears.items()))
        assert all(ear.heard_of == ["heard", channel.encode()] for channel, ear in ears.items())
        assert channels.manager.statistics().connections == 2


async def test_nobody_listens_and_there_is_no_connection(proxy, server, name):
    async with subscribed(proxy.url) as channels:
        await asyncio.sleep(0.05)
        assert proxy.open == 1
        for _ in range(2):
            with channels.listening(Topic(name), Ear()):
                await until(lambda: channels.hears(Topic(name)))
                assert proxy.open == 2
            # Soon nobody is told any more, and then there is nobody to tell.
            await until(lambda: ask(server.url, f"PUBLISH {name} x") == [b":0"])
            await until(lambda: proxy.open == 1)


async def test_what_nobody_wants_any_more_is_not_sent(server, name):
    async with subscribed(server.url) as channels:
        with channels.listening(Topic(f"{name}-other"), Ear()):
            with channels.listening(Topic(name), Ear()):
                await until(lambda: channels.hears(Topic(name)))
            await until(lambda: ask(server.url, f"PUBLISH {name} x") == [b":0"])
            assert not channels.hears(Topic(name))
            assert ask(server.url, f"PUBLISH {name}-other x") == [b":1"]


def test_the_time_to_notice_is_below_a_second_and_a_half():
    assert max(BEAT) + ANSWER < 1.5


@pytest.mark.parametrize("fault", ["half open", "reset"])
async def test_a_lost_link_is_noticed_and_made_again(proxy, server, name, fault, caplog):
    ear, idle = Ear(), Ear()
    async with subscribed(proxy.url, deadlines=BRIEF) as channels:
        with channels.listening(Topic(name), ear), channels.listening(Topic(f"{name}-idle"), idle):
            for _ in range(2):
                await until(lambda: ear.heard_of[-1:] == idle.heard_of[-1:] == ["heard"])
                if fault == "half open":
                    proxy.hold()
                else:
                    proxy.refuse()
                    proxy.reset()
                await until(lambda: ear.heard_of[-1] == idle.heard_of[-1] == "lost")
                assert not channels.hears(Topic(name))
                ask(server.url, f"PUBLISH {name} missed")
                with channels.listening(Topic(f"{name}-late"), late := Ear()):
                    assert late.heard_of == ["lost"]
                    proxy.heal()
                    proxy.reset()
                    await until(lambda: late.heard_of[-1] == "heard")
            await until(lambda: channels.hears(Topic(name)))
            ask(server.url, f"PUBLISH {name} again")
            await until(lambda: ear.heard_of[-1] == b"again")
            assert ear.heard_of == ["heard", "lost", "heard", "lost", "heard", b"again"]
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []


async def test_a_frozen_server_is_noticed_and_so_is_its_return(binary):
    async with Server(binary) as server, state_at(server.url, breaker=QUICK, near=False) as state:
        ear = Ear()
        with state._channels.listening(Topic("x"), ear):
            await until(lambda: ear.heard_of == ["heard"])
            await in_thread(server.freeze)
            await until(lambda: ear.heard_of == ["heard", "lost"])
            await in_thread(server.thaw)
            await until(lambda: state.mode is Mode.CONNECTED)
            await until(lambda: sorted(ear.heard_of) == ["heard", "heard", "lost", "stirred"])


async def test_pauses_grow_and_are_short_again_after_it_was_there(proxy, name):
    async with subscribed(proxy.url) as channels:
        with channels.listening(Topic(name), Ear()):
            await until(lambda: channels.hears(Topic(name)))
            proxy.refuse()
            proxy.reset()
            await until(lambda: channels.subscriber._failures > 3)
            assert 0.25 <= channels.subscriber._pause(0) <= LONGEST_PAUSE
            proxy.heal()
            await until(lambda: channels.hears(Topic(name)))
            await until(lambda: channels.subscriber._failures == 0)
            assert channels.subscriber._pause(0) < 0.05


async def test_any_change_of_a_key_is_told(server, name):
    async with subscribed(server.url) as channels:
        topic = Topic(f"{name}:x:{{1}}", key=True)
        key, ear = topic.name, Ear()
        with channels.listening(topic, ear):
            for change in (
                f"SET {key} 1",
                f"SET {key} 2",
                f"PEXPIRE {key} 20",
                f"EVAL return(redis.call('INCR','{key}')) 0",
            ):
                await until(lambda: channels.hears(topic))
                before = len(ear.heard_of)
                ask(server.url, change)
                await until(lambda: len(ear.heard_of) > before)  # noqa: B023
            await until(lambda: channels.hears(topic))
            # Expired: nobody has written. A server that holds many keys may take seconds to find that by itself.
            ask(server.url, f"SET {key} 3 PX 20")
            await until(lambda: ask(server.url, f"EXISTS {key}") and len(ear.heard_of) >= before + 3)
        assert set(ear.heard_of) == {"heard"}


async def test_a_flush_is_told(binary):
    async with Server(binary) as server, subscribed(server.url) as channels:
        topics = [Topic(f"k{number}", key=True) for number in range(3)]
        ears = [Ear() for _ in topics]
        with ExitStack() as listening:
            for topic, ear in zip(topics, ears, strict=True):
                listening.enter_context(channels.listening(topic, ear))
            await until(lambda: all(map(channels.hears, topics)))
            ask(server.url, "FLUSHALL")
            await until(lambda: [ear.heard_of for ear in ears] == [["heard", "heard"]] * 3)


async def test_a_user_who_may_not_subscribe_is_not_told_and_not_asked_for_ever(binary, monkeypatch):
    monkeypatch.setattr(subscriber, "REFUSED", 0.3)
    async with Server(binary) as server:
        ask(server.url, "ACL SETUSER shy on >secret ~* +@all resetchannels")
        async with subscribed(server.url.replace("://", "://shy:secret@")) as channels:
            with channels.listening(Topic("x"), ear := Ear()):
                await until(lambda: ear.heard_of == ["lost"])
                made = channels.manager.statistics().connections
                await asyncio.sleep(0.2)
                assert channels.manager.statistics().connections == made
                ask(server.url, "ACL SETUSER shy &*")
                await until(lambda: ear.heard_of == ["lost", "heard"])


async def test_an_idle_reader_costs_redis_one_question_a_second(binary):
    async with Server(binary) as server, state_at(server.url, near=False) as state:

        async def listen():
            async for _ in state.inboxes.listen("bot"):
                raise AssertionError

        async with cancelled(listen()):
            await until(lambda: any(map(state._channels.hears, state._channels.topics)))
            await asyncio.sleep(0.1)
            ask(server.url, "CONFIG RESETSTAT")
            began = time.perf_counter()
            await asyncio.sleep(2.0)
            statistics = (await state._stack._connection.send(("INFO", "commandstats"))).decode()
            seconds = time.perf_counter() - began
        calls = {name: int(number) for name, number in re.findall(r"cmdstat_(\S+):calls=(\d+)", statistics)}
        assert 1 <= calls.pop("ping") <= seconds / min(BEAT) + 1
        # The rest is the watch on the server, which every process keeps whether it listens or not.
        assert set(calls) <= {"set", "get", "info", "config|resetstat"}


@asynccontextmanager
async def cancelled(work):
    """Do *work* in the background for the length of the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_more_topics_than_a_link_takes_at_once_are_heard_in_several_rounds(server, name):
    async with subscribed(server.url, bounds=Bounds(in_flight_commands=300)) as channels:
        with ExitStack() as listening:
            for number in range(1000):
                listening.enter_context(channels.listening(Topic(f"{name}{number}", key=number % 2 == 0), Ear()))
            await until(lambda: all(map(channels.hears, channels.topics)))
