"""Queues: messages for each id, in the order in which they arrived."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from polly_state.commands import MAX_COUNT, Acknowledge, Enqueue, Handed, Item, Queued, TakeMessages
from polly_state.errors import CorruptValue, StateUnavailable, StoreUnavailable
from polly_state.events import MessagePutAside
from polly_state.stamps import time_of
from polly_state.store import Ack, Answer, Origin
from polly_state.store.channels import Topic
from polly_state.structures.base import Binding, Read, Structure, Ttl, needed, positive, seconds
from polly_state.structures.codec import Codec
from polly_state.structures.keys import Family, Id

__all__ = ["Delivery", "Message", "Queue"]

T = TypeVar("T")

ANY = Ack.LOCAL_VOLATILE
FIRST: Final = 100
VISIBILITY: Final = 30.0
DELIVERIES: Final = 5
AWAY: Final = 0.1
"""Seconds until a listener looks whether Redis is back; nothing is sent while it is known to be away."""
DEAF: Final = 0.5
"""Seconds between looks while new messages are not told of."""
DEAD_TTL: Final = 7 * 86_400.0


class Message(NamedTuple, Generic[T]):
    """A value in a queue."""

    id: str
    """What tells it from every other one, also when it is sent or seen twice."""
    value: T


@dataclass(frozen=True, slots=True)
class Delivery(Generic[T]):
    """A message that is yours until its time is over: `ack` says that it is done."""

    id: str
    """What tells it from every other message, also when it is delivered again."""
    value: T
    deliveries: int
    """How often it was handed out so far."""
    _acknowledge: Callable[[], Awaitable[Ack]] = field(repr=False, compare=False)

    @property
    def duplicate(self) -> bool:
        """Whether somebody had it before, who may have done all of it, a part or nothing."""
        return self.deliveries > 1

    async def ack(self) -> Ack:
        """It is done, and is not delivered again; may be said twice, and in an outage."""
        return await self._acknowledge()


class Queue(Structure, Generic[T]):
    """Durable queues of values of one type, each of which is there once, however often it had to be sent.

    Messages are delivered at least once: whoever takes one and does not acknowledge it in time loses it to another. The
    ttl is that of the whole queue, and starts anew with each message.
    """

    def __init__(self, binding: Binding, declared: type[T]) -> None:
        super().__init__(binding)
        self._codec = Codec(declared, max_bytes=binding.max_value_bytes)
        self._observe = binding.observe
        self._dead_key = Family(binding.family.namespace, f"{binding.family.name}.dead").key
        self._foreign_key = Family(binding.family.namespace, f"{binding.family.name}.foreign").key

    async def put(self, id: Id, value: T, *, require: Ack = ANY) -> Ack:
        """Put a message at the end."""
        key = self._key(id)
        ack = await self._ack(Enqueue(key, self._stamp(), self._codec.encode(value), self._ttl), require)
        self._channels.tell(Topic(key))
        return ack

    async def take(
        self, id: Id, count: int = 1, *, visibility: Ttl = VISIBILITY, deliveries: int = DELIVERIES
    ) -> list[Delivery[T]]:
        """Take the first *count* messages that are in nobody's hands; fewer if there are no more, or some put aside.

        Args:
            id: Of which queue.
            count: How many at most.
            visibility: Seconds after which a message that was taken, and not acknowledged, is taken from its taker;
                the same for all who read a queue.
            deliveries: How often at most; what was not acknowledged by then, or cannot be read, goes to `dead`.

        Raises:
            StoreUnavailable: Redis is away; messages that were put meanwhile are delivered when it is back.
        """
        return (await self._take(id, count, visibility, deliveries))[0]

    async def listen(
        self, id: Id, *, count: int = 1, visibility: Ttl = VISIBILITY, deliveries: int = DELIVERIES
    ) -> AsyncGenerator[Delivery[T], None]:
        """Take messages as they come, for as long as the loop goes on; see `take`.

        More than one at once is quicker, but whoever stops early has taken the others too: those come again later. It
        is woken by each message, over outages too, and sends nothing while there are none.
        """
        with self._channels.waking(Topic(self._key(id))) as wake:
            while True:
                wake.clear()
                try:
                    taken, left = await self._take(id, count, visibility, deliveries)
                except StoreUnavailable:
                    await wake.wait(AWAY, deaf=AWAY)
                    continue
                for delivery in taken:
                    yield delivery
                if not taken:
                    # Others have what is left, and may fail.
                    await wake.wait(seconds(visibility) if left else None, deaf=DEAF)

    async def waiting(self, id: Id, count: int = FIRST) -> list[Message[T]]:
        """The first *count* messages, which stay; empty only if there is none."""
        return (await self._first(id, count)).value

    async def read(self, id: Id, count: int = FIRST) -> Read[list[Message[T]]]:
        """The first messages with their origin and age; none by default if none is known."""
        try:
            found = await self._first(id, count)
        except StateUnavailable:
            return Read([], Origin.DEFAULT, 0.0)
        return Read(found.value, found.origin, found.age)

    async def dead(self, id: Id, count: int = FIRST) -> list[Message[T]]:
        """The first messages that were delivered too often, kept for a week. Raises `CorruptValue` for unreadable."""
        return self._messages((await self._store.execute(Queued(self._dead_key(id), positive(count)))).value)

    async def foreign(self, id: Id, count: int = FIRST) -> list[str]:
        """The first entries that something else had put into the queue, as JSON lists of texts, kept for a week."""
        found = (await self._store.execute(Queued(self._foreign_key(id), positive(count)))).value
        return [item.content.decode() for item in found]

    async def _take(self, id: Id, count: int, visibility: Ttl, most: int) -> tuple[list[Delivery[T]], int]:
        lifetime = needed(visibility, "a visibility is needed")
        command, delivered = TakeMessages(self._key(id), positive(count), lifetime), list[Delivery[T]]()
        while True:
            taken = (await self._store.execute(command)).value
            for message in taken.messages:
                value = None
                with suppress(CorruptValue):
                    value = self._codec.decode(message.content) if message.stamp else None
                if value is None or message.deliveries > positive(most):
                    await self._bury(id, message, "deliveries" if value is not None else "unreadable")
                else:
                    acknowledge = self._acknowledging(id, message)
                    delivered.append(Delivery(message.stamp, value, message.deliveries, acknowledge))
            if delivered or not taken.messages:
                return delivered, taken.left - len(taken.messages) + len(delivered)
            # All of it was put aside: what is behind need not wait.

    def _acknowledging(self, id: Id, message: Handed) -> Callable[[], Awaitable[Ack]]:
        key = self._key(id)
        return lambda: self._ack(Acknowledge(key, self._stamp(), message.stamp, message.entry), ANY)

    async def _bury(self, id: Id, message: Handed, reason: str) -> None:
        key = self._dead_key(id)
        if not message.stamp:
            key, reason, message = self._foreign_key(id), "foreign", message._replace(stamp=self._stamp())
        # Under its own stamp: who is interrupted here and does it again buries it once.
        ttl = DEAD_TTL + max(0.0, self._store.clock.now() - time_of(message.stamp))
        await self._store.execute(Enqueue(key, message.stamp, message.content, ttl))
        await self._acknowledging(id, message)()
        self._observe(MessagePutAside(self._family.name, reason))

    async def _first(self, id: Id, count: int) -> Answer[list[Message[T]]]:
        key, asked = self._key(id), positive(count)
        while True:
            answer = await self._store.execute(Queued(key, asked))
            messages = self._messages(answer.value)
            if len(messages) >= count or len(answer.value) < asked:
                return Answer(messages[:count], answer.origin, answer.ack, answer.age)
            # What is no message stood before some that are.
            asked = min(2 * asked, MAX_COUNT)

    def _messages(self, items: list[Item]) -> list[Message[T]]:
        return [Message(item.stamp, self._codec.decode(item.content)) for item in items if item.stamp]
