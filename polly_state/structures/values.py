"""Values: one value for each id."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from enum import Enum
from typing import Final, Generic, TypeVar

from polly_state.commands import Condition, Get, SetFenced, SetRegister, TakeValue, TimeToLive, Touch
from polly_state.store import Ack
from polly_state.structures.base import Binding, Read, Structure, Ttl, needed, positive, seconds
from polly_state.structures.codec import Codec
from polly_state.structures.keys import Id
from polly_state.structures.watch import watch

__all__ = ["Values"]

T = TypeVar("T")

ANY: Final = Ack.LOCAL_VOLATILE


class Declared(Enum):
    """Stands for the ttl of the family, where None would mean that there is none."""

    DECLARED = "declared"


DECLARED: Final = Declared.DECLARED


class Values(Structure, Generic[T]):
    """Durable values of one type, the newest write winning.

    Every write tells where it was kept, and *require* refuses less: see `Ack`. Reads raise `StateUnavailable` when
    Redis is away and this process does not know the value; `read` gives a default instead and says so.
    """

    def __init__(self, binding: Binding, declared: type[T]) -> None:
        super().__init__(binding)
        self._codec = Codec(declared, max_bytes=binding.max_value_bytes)

    async def get(self, id: Id) -> T | None:
        """The value; None only if there is none."""
        content = (await self._store.execute(Get(self._key(id))))[0]
        return None if content is None else self._codec.decode(content)

    async def read(self, id: Id, default: T | None = None) -> Read[T | None]:
        """The value with its origin and age; *default* if there is none, or none is known."""
        found = await self._read(Get(self._key(id)), None)
        value = default if found.value is None else self._codec.decode(found.value)
        return Read(value, found.origin, found.age)

    async def get_many(self, ids: Iterable[Id]) -> dict[Id, T]:
        """The values there are, in one round trip."""
        wanted = list(ids)
        answers = await self._store.execute_many([Get(self._key(each)) for each in wanted])
        found = zip(wanted, answers, strict=True)
        return {each: self._codec.decode(answer.value) for each, answer in found if answer.value is not None}

    async def set(
        self,
        id: Id,
        value: T,
        *,
        ttl: Ttl | Declared | None = DECLARED,
        require: Ack = ANY,
        fence: int | None = None,
    ) -> Ack:
        """Put a value; a *ttl* of its own takes the place of the family's, and None keeps it for good.

        With the *fence* of a lease it raises `Fenced` if a later holder has written, and `StoreUnavailable` while Redis
        is away. Whoever writes without one is not asked.
        """
        command = self._write(id, value, ttl)
        return await self._ack(command if fence is None else _fenced(command, fence), require)

    def watch(self, id: Id) -> AsyncGenerator[T | None, None]:
        """The value now, None if there is none, and each newer one, for as long as the loop goes on.

        What is overwritten before it was read may be left out, the last never is, whoever writes it and over all
        outages. While nobody knows the value, nothing is given. Raises `CorruptValue` as `get` does.
        """
        decode = self._codec.decode
        command = Get(self._key(id))
        return watch(self._store, self._channels, command, lambda content: None if content is None else decode(content))

    async def create(self, id: Id, value: T, *, ttl: Ttl | Declared | None = DECLARED, require: Ack = ANY) -> bool:
        """Put a value where there is none; False if there is one, which stays."""
        command = self._write(id, value, ttl, condition=Condition.IF_ABSENT)
        return (await self._store.execute(command, require)).value

    async def update(self, id: Id, value: T, *, require: Ack = ANY) -> bool:
        """Replace the value if there is one, in the time that it has left; False if there is none."""
        command = self._write(id, value, None, condition=Condition.IF_PRESENT, keep_ttl=True)
        return (await self._store.execute(command, require)).value

    async def swap(self, id: Id, expected: T, value: T, *, require: Ack = ANY) -> bool:
        """Replace *expected* by *value*, in the time that it has left; False if something else is there."""
        command = self._write(id, value, None, keep_ttl=True, expected=self._codec.encode(expected))
        return (await self._store.execute(command, require)).value

    async def delete(self, id: Id, *, require: Ack = ANY, fence: int | None = None) -> Ack:
        """Let there be no value; for the *fence* see `set`."""
        command = SetRegister(self._key(id), self._stamp(), None)
        return await self._ack(command if fence is None else _fenced(command, fence), require)

    async def delete_if(self, id: Id, expected: T, *, require: Ack = ANY) -> bool:
        """Let there be no value if it is *expected*; False if something else is there, or nothing."""
        command = SetRegister(self._key(id), self._stamp(), None, expected=self._codec.encode(expected))
        return (await self._store.execute(command, require)).value

    async def take(self, id: Id, *, require: Ack = ANY) -> T | None:
        """Remove the value and get it, as exactly one of all callers does; None if there is none.

        Raises `StateUnavailable` while Redis is away: nobody could tell that there is no other taker.
        """
        content = (await self._store.execute(TakeValue(self._key(id), self._stamp()), require)).value
        return None if content is None else self._codec.decode(content)

    async def touch(self, id: Id) -> bool:
        """Start the family's ttl anew; False if there is no value. Raises `ValueError` in a family without a ttl."""
        if self._ttl is None:
            raise ValueError("values of this family do not expire; use expire() with a ttl")
        return await self.expire(id, self._ttl)

    async def expire(self, id: Id, ttl: Ttl) -> bool:
        """Let the value live *ttl* seconds from now; False if there is none."""
        lifetime = needed(ttl, "a ttl is needed")
        return (await self._store.execute(Touch(self._key(id), self._stamp(), lifetime))).value

    async def time_to_live(self, id: Id) -> float | None:
        """Seconds until the value expires; None if it does not, or there is none."""
        return (await self._store.execute(TimeToLive(self._key(id)))).value

    def _write(
        self,
        id: Id,
        value: T,
        ttl: Ttl | Declared | None,
        *,
        condition: Condition = Condition.ALWAYS,
        keep_ttl: bool = False,
        expected: bytes | None = None,
    ) -> SetRegister:
        lifetime = self._ttl if isinstance(ttl, Declared) else seconds(ttl)
        content = self._codec.encode(value)
        return SetRegister(self._key(id), self._stamp(), content, lifetime, condition, keep_ttl, expected)


def _fenced(command: SetRegister, fence: int) -> SetFenced:
    return SetFenced(command.key, command.stamp, command.content, command.ttl, fence=positive(fence))
