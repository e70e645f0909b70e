"""Events: messages to whoever listens at the moment, in any process; nothing is kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Generic, TypeVar

from polly_state.commands import Publish, entered
from polly_state.errors import CorruptValue, StoreUnavailable
from polly_state.events import MessageUnreadable
from polly_state.store import Ack
from polly_state.store.channels import Topic
from polly_state.structures.base import Binding, Structure, positive
from polly_state.structures.codec import Codec
from polly_state.structures.keys import Id
from polly_state.structures.outlet import Gap, Outlet

__all__ = ["Events"]

T = TypeVar("T")


class Events(Structure, Generic[T]):
    """Messages of one type to all who listen to an id, at most once: for what must not be lost, there is `Queue`.

    Who listens in the publishing process is told at once, also while Redis is away; those in other processes then are
    not, and find a `Gap` when it is back. The messages of one publisher come in their order.
    """

    def __init__(self, binding: Binding, declared: type[T]) -> None:
        super().__init__(binding)
        self._observe = binding.observe
        self._codec = Codec(declared, max_bytes=binding.max_value_bytes)

    async def publish(self, id: Id, message: T) -> Ack:
        """Tell everybody; `Ack.REMOTE` if Redis has told all processes, less if perhaps only this one has heard.

        Raises `UnsupportedValue` for what is not of the declared type.
        """
        key, content = self._key(id), self._stamp().encode() + self._codec.encode(message)
        self._channels.tell(Topic(key), content)
        try:
            return await self._ack(Publish(key, content), Ack.LOCAL_VOLATILE)
        except StoreUnavailable:
            return Ack.LOCAL_VOLATILE

    async def listen(self, id: Id, *, buffer: int = 1000) -> AsyncGenerator[T | Gap, None]:
        """Messages as they come, and a `Gap` wherever some are missing, for as long as the loop goes on.

        At most *buffer* messages and 8 MiB wait for a slow listener; the oldest are dropped for newer ones. What is no
        message of this type is skipped, and observers are told of it.
        """
        outlet = Outlet(self._store.clock.origin.encode(), positive(buffer))
        with self._channels.listening(Topic(self._key(id)), outlet):
            while True:
                item = await outlet.take()
                message = item if isinstance(item, Gap) else self._decoded(item)
                if message is not None:
                    yield message

    def _decoded(self, content: bytes) -> T | None:
        stamp = entered(content)
        with suppress(CorruptValue):
            if stamp is not None:
                return self._codec.decode(content[len(stamp) :])
        self._observe(MessageUnreadable(self._family.name))
        return None
