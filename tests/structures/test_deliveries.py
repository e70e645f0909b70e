"""Messages of a queue: delivered until they are acknowledged, on every store."""

from __future__ import annotations

import asyncio
import json

import pytest

from polly_state import CorruptValue, Queue, StoreUnavailable
from polly_state.commands import Acknowledge, Enqueue, Queued, TakeMessages, TimeToLive
from polly_state.events import MessagePutAside
from polly_state.store import Ack
from polly_state.structures import Binding, Family

BRIEF = 0.05


@pytest.fixture
def handle(store):
    """Makes a queue in the store; its family is of this test alone."""

    def make(declared=int, ttl=None):
        namespace = store.key().partition(":")[0]
        return Queue(Binding(store.store, Family(namespace, "t"), ttl, 100_000), declared)

    return make


async def test_messages_are_delivered_in_order_and_once_acknowledged_never_again(store, handle):
    queue = handle()
    assert await queue.take("a") == []
    for number in range(5):
        await queue.put("a", number)
    taken = await queue.take("a", 3)
    assert [(each.value, each.deliveries, each.duplicate) for each in taken] == [(n, 1, False) for n in range(3)]
    assert [each.value for each in await queue.take("a", 10)] == [3, 4]
    assert await queue.take("a", 10) == []
    assert len(await queue.waiting("a")) == 5
    for each in taken:
        assert await each.ack() >= Ack.LOCAL_VOLATILE
        await each.ack()
    assert [message.value for message in await queue.waiting("a")] == [3, 4]


async def test_what_is_not_acknowledged_in_time_comes_again_and_says_so(store, handle):
    queue = handle()
    for number in range(3):
        await queue.put("a", number)
    first, *_ = await queue.take("a", 2, visibility=BRIEF)
    await first.ack()
    assert [each.value for each in await queue.take("a", 5, visibility=BRIEF)] == [2]
    await store.lapse(2 * BRIEF)
    again = await queue.take("a", 5, visibility=BRIEF)
    assert [(each.value, each.deliveries, each.duplicate) for each in again] == [(1, 2, True), (2, 2, True)]
    assert again[0].id != first.id
    await store.lapse(2 * BRIEF)
    assert [each.deliveries for each in await queue.take("a", 5, visibility=BRIEF)] == [3, 3]


async def test_what_is_delivered_too_often_is_put_aside(store, handle):
    queue = handle()
    await queue.put("a", 1)
    await queue.put("a", 2)
    for _ in range(2):
        (taken,) = await queue.take("a", 1, visibility=BRIEF, deliveries=2)
        assert taken.value == 1
        await store.lapse(2 * BRIEF)
    assert [each.value for each in await queue.take("a", 1, visibility=BRIEF, deliveries=2)] == [2]
    assert [message.value for message in await queue.dead("a")] == [1]
    assert [message.value for message in await queue.waiting("a")] == [2]


async def test_what_cannot_be_read_holds_up_nobody(store, handle):
    queue = handle()
    await handle(str).put("a", "no number")
    await queue.put("a", 1)
    assert [each.value for each in await queue.take("a", 5)] == [1]
    assert [message.value for message in await queue.waiting("a")] == [1]
    with pytest.raises(CorruptValue):
        await queue.dead("a")
    assert [message.value for message in await handle(str).dead("a")] == ["no number"]


@pytest.mark.parametrize(
    "fields",
    [
        ("hello", "world"),
        ("id", "x", "content", "1"),
        ("id", "0" * 24),
        ("id", "0" * 24, "content", "1", "more", "x"),
        ("id", b"\xff" * 24, "content", b"\xff"),
        ("", ""),
    ],
)
async def test_what_something_else_has_put_there_holds_up_nobody(redis_store, fields):
    told, namespace = [], redis_store.key().partition(":")[0]
    queue = Queue(Binding(redis_store.store, Family(namespace, "t"), None, 1000, observe=told.append), object)
    key = Family(namespace, "t").key("a")
    await queue.put("a", 1)
    for _ in range(2):
        await redis_store.ask("XADD", key, "*", *fields)
    await queue.put("a", 2)
    assert [message.value for message in await queue.waiting("a")] == [1, 2]
    taken = await queue.take("a", 10)
    assert [(each.value, each.duplicate) for each in taken] == [(1, False), (2, False)]
    assert told == [MessagePutAside("t", "foreign")] * 2
    found = [json.loads(text) for text in await queue.foreign("a")]
    assert found == [[text if isinstance(text, str) else text.decode(errors="backslashreplace") for text in fields]] * 2
    assert await queue.dead("a") == []
    for each in taken:
        await each.ack()
    assert await redis_store.ask("EXISTS", key) == 0


async def test_what_is_put_aside_is_told_of_with_its_reason(store):
    told, family = [], Family(store.key().partition(":")[0], "t")
    queue, texts = (Queue(Binding(store.store, family, None, 1000, observe=told.append), kind) for kind in (int, str))
    await texts.put("a", "no number")
    assert await queue.take("a") == []
    assert told == [MessagePutAside("t", "unreadable")]
    await queue.put("a", 1)
    await queue.take("a", visibility=BRIEF)
    await store.lapse(2 * BRIEF)
    assert await queue.take("a", deliveries=1, visibility=BRIEF) == []
    assert told[1:] == [MessagePutAside("t", "deliveries")]


async def test_each_message_is_delivered_to_one_of_many(store, handle):
    queue = handle()
    for number in range(40):
        await queue.put("a", number)
    taken = await asyncio.gather(*(queue.take("a", 3) for _ in range(20)))
    assert sorted(each.value for part in taken for each in part) == list(range(40))


async def test_a_queue_of_which_all_is_done_takes_messages_again(store, handle):
    queue = handle(ttl=50.0)
    for number in range(3):
        await queue.put("a", number)
        (taken,) = await queue.take("a")
        assert taken.value == number
        await taken.ack()
        assert await queue.waiting("a") == []


async def test_a_message_that_is_sent_again_after_it_was_done_is_not_there(store):
    key, stamp = store.key(), store.stamp()
    await store.do(Enqueue(key, stamp, b"1"))
    (taken,), left = await store.do(TakeMessages(key, 1, 30.0))
    assert (taken.content, left) == (b"1", 1)
    await store.do(Acknowledge(key, store.stamp(), taken.stamp, taken.entry))
    await store.do(Enqueue(key, stamp, b"1"))
    assert await store.do(Queued(key, 5)) == []


async def test_a_message_that_arrives_after_it_was_done_is_not_there(store):
    key, stamp = store.key(), store.stamp()
    await store.do(Acknowledge(key, store.stamp(), stamp))
    await store.do(Enqueue(key, stamp, b"1"))
    assert await store.do(Queued(key, 5)) == []


async def test_a_message_that_comes_late_to_a_queue_of_which_all_is_done_ends_with_the_newest(store):
    key, late = store.key(), store.stamp()
    await store.do(Enqueue(key, store.stamp(), b"1", 5000.0))
    (taken,), _ = await store.do(TakeMessages(key, 1, 30.0))
    await store.do(Acknowledge(key, store.stamp(), taken.stamp, taken.entry))
    await store.do(Enqueue(key, late, b"0", 50.0))
    assert 4000 < await store.do(TimeToLive(key)) <= 5000


async def test_a_listener_is_woken_by_a_message_of_its_own_process(local):
    queue = Queue(Binding(local.store, Family("n", "t"), None, 1000), int)
    heard = []

    async def listen():
        async for message in queue.listen("a"):
            heard.append(message.value)
            await message.ack()

    listening = asyncio.create_task(listen())
    async with asyncio.timeout(10):
        for number in range(5):
            await queue.put("a", number)
            while len(heard) <= number:
                await asyncio.sleep(0)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    assert heard == list(range(5))
    assert await queue.waiting("a") == []


@pytest.mark.parametrize("bad", [{"count": 0}, {"visibility": 0}, {"visibility": -1}, {"deliveries": 0}])
async def test_numbers_out_of_bounds_are_value_errors(store, handle, bad):
    await handle().put("a", 1)
    with pytest.raises(ValueError, match="must be from"):
        await handle().take("a", **bad)
    with pytest.raises(TypeError, match="visibility"):
        await handle().take("a", visibility=None)


async def test_more_than_the_store_can_give_is_refused(store, handle):
    with pytest.raises(StoreUnavailable, match="REPLICATED"):
        await handle().put("a", 1, require=Ack.REPLICATED)


async def test_what_is_no_message_hides_none_that_wait(redis_store):
    queue = Queue(Binding(redis_store.store, Family(redis_store.key().partition(":")[0], "t"), None, 1000), int)
    for number in range(5):
        await redis_store.ask("XADD", queue._key("a"), "*", "text", number)
    for number in range(4):
        await queue.put("a", number)
    for count in (1, 3, 4, 100):
        assert [message.value for message in await queue.waiting("a", count)] == [*range(4)][:count]
        assert [message.value for message in (await queue.read("a", count)).value] == [*range(4)][:count]


async def test_what_is_put_aside_holds_up_nobody(store):
    family = Family(store.key().partition(":")[0], "t")
    queue, texts = (Queue(Binding(store.store, family, None, 1000), kind) for kind in (int, str))
    for number in range(3):
        await texts.put("a", f"no number {number}")
    await queue.put("a", 1)
    # Who gets nothing waits for others, who have what is left.
    (delivery,) = await queue.take("a")
    assert delivery.value == 1
    assert await queue.take("a") == []
    assert len(await texts.dead("a")) == 3
