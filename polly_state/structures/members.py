"""Members: a bounded mapping for each id, whose members end one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Generic, TypeVar

from polly_state.commands import ClearFields, GetField, GetFields, PatchFields, PutMembers, SwapFields, entered
from polly_state.stamps import time_of
from polly_state.store import Ack
from polly_state.structures.base import Binding, Read, Structure, field_name, positive
from polly_state.structures.codec import Codec
from polly_state.structures.keys import Id

__all__ = ["MAX_MEMBERS", "Members"]

T = TypeVar("T")

ANY: Final = Ack.LOCAL_VOLATILE
MAX_MEMBERS: Final = 10_000


class Members(Structure, Generic[T]):
    """Durable mappings from names to values of one type, each of which ends a ttl after it was put.

    At most *limit* are kept for one id: who puts one more sends the oldest away, in the same step. Merge rule: of two
    writes to one member the newer stays, and then the newest *limit* members do. It works on any Redis from 6.2 on: the
    stamp of the put stands before the value.
    """

    def __init__(self, binding: Binding, declared: type[T], limit: int) -> None:
        """Raises `ValueError` without a ttl, or unless *limit* is from 1 to 10 000."""
        super().__init__(binding)
        if binding.ttl is None:
            raise ValueError("members end: give a ttl, or use fields()")
        self._lifetime = binding.ttl
        self._codec = Codec(declared, max_bytes=binding.max_value_bytes)
        self._limit = positive(limit, MAX_MEMBERS)

    async def put(self, id: Id, member: str, value: T, *, require: Ack = ANY) -> tuple[str, ...]:
        """Put a member, whose time begins; the members that had to go for it, or whose time was over.

        In an outage those that are known here; the others go when the put is replayed.
        """
        return await self.put_many(id, {member: value}, require=require)

    async def put_many(self, id: Id, values: Mapping[str, T], *, require: Ack = ANY) -> tuple[str, ...]:
        """Put members in one step, as `put` does one; of them the one whose name sorts last counts as the newest.

        Raises `ValueError` if there are none.
        """
        if not values:
            raise ValueError("name the members to put")
        contents = {field_name(member): self._codec.encode(value) for member, value in values.items()}
        command = PutMembers(self._key(id), self._stamp(), contents, self._lifetime, self._limit, self._lifetime)
        return (await self._store.execute(command, require)).value

    async def get(self, id: Id, member: str) -> T | None:
        """The value of a member; None only if there is none."""
        content = (await self._store.execute(GetField(self._key(id), field_name(member)))).value
        return self._value(content)

    async def all(self, id: Id) -> dict[str, T]:
        """Every member, the one that was put last first; empty only if there is none."""
        return self._values((await self._store.execute(GetFields(self._key(id)))).value)

    async def read(self, id: Id) -> Read[dict[str, T]]:
        """Every member with origin and age; none by default if none is known."""
        found = await self._read(GetFields(self._key(id)), {})
        return Read(self._values(found.value), found.origin, found.age)

    async def within(self, id: Id, seconds: float, *members: str) -> list[str]:
        """Those of the named *members* that were put in the last *seconds*; one look-up for each, however many are."""
        commands = [GetField(self._key(id), field_name(member)) for member in members]
        answers = await self._store.execute_many(commands)
        found = zip(members, answers, strict=True)
        return [member for member, answer in found if self._age(answer.value) < min(seconds, self._lifetime)]

    async def recent(self, id: Id, seconds: float) -> list[str]:
        """The members that were put in the last *seconds*, newest first."""
        contents = (await self._store.execute(GetFields(self._key(id)))).value
        ages = {member: self._age(contents[member]) for member in _newest_first(contents)}
        return [member for member, age in ages.items() if age < min(seconds, self._lifetime)]

    async def touch(self, id: Id, member: str) -> bool:
        """Begin the time of a member anew; False if there is none."""
        key, field = self._key(id), field_name(member)
        while True:
            content = (await self._store.execute(GetField(key, field))).value
            if content is None or self._age(content) >= self._lifetime:
                return False
            stamp = self._stamp()
            renewed = stamp.encode() + content[len(stamp) :]
            # Whoever was faster has put or dropped it: look again.
            command = SwapFields(key, stamp, {field: content}, {field: renewed}, self._lifetime)
            if (await self._store.execute(command)).value:
                return True

    async def remove(self, id: Id, *members: str, require: Ack = ANY) -> Ack:
        """Drop members by name. Raises `ValueError` if none is named; `clear` drops all."""
        if not members:
            raise ValueError("name the members to drop, or use clear()")
        changes = {field_name(member): None for member in members}
        return await self._ack(PatchFields(self._key(id), self._stamp(), changes), require)

    async def remove_ended(self, id: Id) -> int:
        """Drop those whose time is over, as each `put` does; how many there were. One that is put meanwhile stays."""
        key = self._key(id)
        contents = (await self._store.execute(GetFields(key))).value
        ended = {field: content for field, content in contents.items() if self._age(content) >= self._lifetime}
        commands = [SwapFields(key, self._stamp(), {field: ended[field]}, {field: None}) for field in ended]
        # One by one in the journal, but sent together.
        answers = await asyncio.gather(*map(self._store.execute, commands))
        return sum(answer.value for answer in answers)

    async def clear(self, id: Id, *, require: Ack = ANY) -> Ack:
        """Drop every member."""
        return await self._ack(ClearFields(self._key(id), self._stamp()), require)

    def _age(self, content: bytes | None) -> float:
        stamp = entered(content)
        # Others' clocks may be a little ahead.
        return float("inf") if stamp is None else max(0.0, self._store.clock.now() - time_of(stamp))

    def _value(self, content: bytes | None) -> T | None:
        stamp = entered(content)
        if content is None or stamp is None or self._age(content) >= self._lifetime:
            return None
        return self._codec.decode(content[len(stamp) :])

    def _values(self, contents: dict[str, bytes]) -> dict[str, T]:
        values = ((member, self._value(contents[member])) for member in _newest_first(contents))
        return {member: value for member, value in values if value is not None}


def _newest_first(contents: dict[str, bytes]) -> list[str]:
    return sorted(contents, key=lambda member: entered(contents[member]) or "", reverse=True)
