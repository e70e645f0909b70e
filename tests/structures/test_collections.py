"""Sets, Log and Queue as a bot uses them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import pytest

from polly_state import Ack, CorruptValue, Log, Message, Origin, Queue, Sets, StoreUnavailable, UnsupportedValue
from polly_state.commands import Append, Enqueue, PatchSet, TimeToLive
from polly_state.structures import Binding, Family

TTL = 50.0


class Color(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Track:
    title: str
    length: float = 0.0


@pytest.fixture
def handle(store):
    """Makes a structure in the store; its family is of this test alone."""

    def make(kind, *declared, ttl=None, max_value_bytes=100_000):
        namespace = store.key().partition(":")[0]
        return kind(Binding(store.store, Family(namespace, "t"), ttl, max_value_bytes), *declared)

    return make


@pytest.mark.parametrize(
    ("declared", "members"),
    [
        (str, ["", "späße", "a b", '"', "1"]),
        (int, [0, -5, 2**60]),
        (Color, [Color.RED, Color.BLUE]),
        (tuple[int, str], [(1, "a"), (1, "b")]),
        (object, ["1", 1, "a"]),
    ],
)
async def test_members_come_back_as_their_type(store, handle, declared, members):
    sets = handle(Sets, declared)
    assert await sets.all("a") == set()
    assert await sets.add("a", *members) >= Ack.LOCAL_VOLATILE
    assert await sets.all("a") == set(members)
    assert [type(each) for each in sorted(await sets.all("a"), key=repr)] == [
        type(each) for each in sorted(members, key=repr)
    ]
    await sets.remove("a", members[0])
    assert await sets.contains("a", members[0]) is False
    assert await sets.contains("a", members[1]) is True
    assert await sets.all("a") == set(members[1:])
    await sets.clear("a")
    assert await sets.all("a") == set()


async def test_a_set_tells_where_it_comes_from(store, handle):
    sets = handle(Sets, int)
    ack = await sets.add("a", 1)
    found = await sets.read("a", default={9})
    assert (ack is Ack.REMOTE) is (found.origin is Origin.REDIS)
    assert (found.value, found.age, found.stale) == ({1}, 0.0, False)
    assert (await sets.read("b", default={9})).value == set()


@pytest.mark.parametrize(
    ("declared", "bad"),
    [(str, 1), (str, "x" * 513), (str, "ä" * 257), (str, "\ud800"), (int, "1"), (int, True), (int, None)],
)
async def test_what_cannot_be_a_member_is_refused_before_anything_is_written(store, handle, declared, bad):
    sets = handle(Sets, declared)
    good = declared()
    with pytest.raises(UnsupportedValue):
        await sets.add("a", good, bad)
    with pytest.raises(UnsupportedValue):
        await sets.contains("a", bad)
    assert await sets.all("a") == set()


async def test_to_name_no_member_is_an_error(store, handle):
    for write in (handle(Sets, str).add, handle(Sets, str).remove):
        with pytest.raises(ValueError, match="name the members"):
            await write("a")
    with pytest.raises(TypeError, match="bytes"):
        handle(Sets, bytes)


async def test_a_member_of_another_type_is_corrupt(store, handle):
    await handle(Sets, str).add("a", "no number")
    with pytest.raises(CorruptValue):
        await handle(Sets, int).all("a")


async def test_a_log_keeps_its_newest_entries(store, handle):
    log = handle(Log, Track, 3)
    assert await log.latest("a") == []
    for number in range(5):
        assert await log.append("a", Track(str(number), number / 2)) >= Ack.LOCAL_VOLATILE
    assert await log.latest("a") == [Track("4", 2.0), Track("3", 1.5), Track("2", 1.0)]
    assert await log.latest("a", 1) == [Track("4", 2.0)]
    assert await log.latest("a", 100) == await log.latest("a")
    found = await log.read("a", 2)
    assert (found.value, found.stale) == ([Track("4", 2.0), Track("3", 1.5)], False)
    await log.clear("a")
    assert await log.latest("a") == []


@pytest.mark.parametrize("limit", [0, -1, 10_001])
async def test_a_limit_out_of_bounds_is_a_value_error(store, handle, limit):
    with pytest.raises(ValueError, match="10000"):
        handle(Log, int, limit)


@pytest.mark.parametrize("count", [0, -1])
async def test_a_count_is_at_least_one(store, handle, count):
    for read in (handle(Log, int, 5).latest, handle(Queue, int).waiting):
        with pytest.raises(ValueError, match="from 1"):
            await read("a", count)
    with pytest.raises(TypeError, match="int"):
        await handle(Queue, int).waiting("a", True)
    with pytest.raises(TypeError, match="int"):
        handle(Log, int, 2.0)


async def test_a_queue_holds_every_message_in_order(store, handle):
    queue = handle(Queue, Track)
    assert await queue.waiting("a") == []
    for number in range(3):
        assert await queue.put("a", Track(str(number))) >= Ack.LOCAL_VOLATILE
    messages = await queue.waiting("a")
    assert [message.value for message in messages] == [Track("0"), Track("1"), Track("2")]
    assert len({message.id for message in messages}) == 3
    assert await queue.waiting("a", 2) == messages[:2]
    assert isinstance(messages[0], Message)
    found = await queue.read("a")
    assert (found.value, found.stale) == (messages, False)


async def test_large_values_are_packed_and_come_back(store, handle):
    log, queue = handle(Log, str, 5), handle(Queue, str)
    await log.append("a", "x" * 50_000)
    await queue.put("b", "y" * 50_000)
    assert await log.latest("a") == ["x" * 50_000]
    assert [message.value for message in await queue.waiting("b")] == ["y" * 50_000]


async def test_bad_values_are_refused_before_anything_is_written(store, handle):
    log, queue = handle(Log, Track, 5, max_value_bytes=50), handle(Queue, Track, max_value_bytes=50)
    for bad in (None, "text", Track(1), Track("x" * 100), Track("\ud800")):
        with pytest.raises(UnsupportedValue):
            await log.append("a", bad)
        with pytest.raises(UnsupportedValue):
            await queue.put("b", bad)
    assert await log.latest("a") == []
    assert await queue.waiting("b") == []


async def test_the_familys_ttl_starts_with_each_write(store, handle):
    key = Family(store.key().partition(":")[0], "t").key
    sets, log, queue = handle(Sets, str, ttl=TTL), handle(Log, str, 5, ttl=TTL), handle(Queue, str, ttl=TTL)
    for early in (
        PatchSet(key("set"), store.stamp(), {"a": True}, 5.0),
        Append(key("log"), store.stamp(), b'"a"', 5, 5.0),
        Enqueue(key("queue"), store.stamp(), b'"a"', 5.0),
    ):
        await store.do(early)
    await sets.add("set", "a")
    await log.append("log", "a")
    await queue.put("queue", "a")
    for name in ("set", "log", "queue"):
        assert await store.do(TimeToLive(key(name))) == pytest.approx(TTL, abs=0.5)


async def test_more_than_the_store_can_give_is_refused_and_nothing_is_written(store, handle):
    sets, log, queue = handle(Sets, str), handle(Log, str, 5), handle(Queue, str)
    for write in (
        sets.add("set", "a", require=Ack.REPLICATED),
        sets.remove("set", "a", require=Ack.REPLICATED),
        sets.clear("set", require=Ack.REPLICATED),
        log.append("log", "a", require=Ack.REPLICATED),
        log.clear("log", require=Ack.REPLICATED),
        queue.put("queue", "a", require=Ack.REPLICATED),
    ):
        with pytest.raises(StoreUnavailable, match="REPLICATED"):
            await write
    assert (await sets.all("set"), await log.latest("log"), await queue.waiting("queue")) == (set(), [], [])
