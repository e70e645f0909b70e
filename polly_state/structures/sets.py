"""Sets: a set for each id, whose members come and go one by one."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final, Generic, TypeVar, cast

from polly_state.commands import ClearSet, Contains, Members, PatchSet
from polly_state.errors import UnsupportedValue
from polly_state.store import Ack, Origin
from polly_state.structures.base import Binding, Read, Structure
from polly_state.structures.codec import Codec
from polly_state.structures.keys import Id

__all__ = ["MAX_MEMBER", "Sets"]

T = TypeVar("T")

ANY = Ack.LOCAL_VOLATILE
MAX_MEMBER: Final = 512
"""Bytes that the text of a member may have."""


class Sets(Structure, Generic[T]):
    """Durable sets of members of one type; of two writes about one member, the newer wins.

    A str is kept as it is, anything else as its JSON text, so members that are equal must have one text.
    The ttl is that of the whole set, and starts anew with each write.
    """

    def __init__(self, binding: Binding, declared: type[T]) -> None:
        """Raises `TypeError` for a type without a text, as bytes are."""
        super().__init__(binding)
        if declared is bytes:
            raise TypeError("a member has a text, and bytes have none; declare str and encode them")
        self._codec = Codec(declared, max_bytes=MAX_MEMBER)
        self._plain = declared is str

    async def add(self, id: Id, *members: T, require: Ack = ANY) -> Ack:
        """Add members. Raises `ValueError` if none is named, `UnsupportedValue` over 512 bytes."""
        return await self._patch(id, members, require, there=True)

    async def remove(self, id: Id, *members: T, require: Ack = ANY) -> Ack:
        """Drop members by name; raises as `add` does. `clear` drops all."""
        return await self._patch(id, members, require, there=False)

    async def contains(self, id: Id, member: T) -> bool:
        """Whether *member* is there."""
        return (await self._store.execute(Contains(self._key(id), self._text(member)))).value

    async def all(self, id: Id) -> set[T]:
        """Every member; empty only if there is none."""
        return self._members((await self._store.execute(Members(self._key(id)))).value)

    async def read(self, id: Id, default: AbstractSet[T] = frozenset()) -> Read[set[T]]:
        """Every member with origin and age; *default* if none is known."""
        found = await self._read(Members(self._key(id)), set())
        members = set(default) if found.origin is Origin.DEFAULT else self._members(found.value)
        return Read(members, found.origin, found.age)

    async def clear(self, id: Id, *, require: Ack = ANY) -> Ack:
        """Drop every member."""
        return await self._ack(ClearSet(self._key(id), self._stamp()), require)

    async def _patch(self, id: Id, members: tuple[T, ...], require: Ack, *, there: bool) -> Ack:
        if not members:
            raise ValueError("name the members; clear() drops all")
        changes = {self._text(member): there for member in members}
        return await self._ack(PatchSet(self._key(id), self._stamp(), changes, self._ttl), require)

    def _text(self, member: T) -> str:
        content = self._codec.encode(member)
        text = cast("str", member) if self._plain else content.decode()
        if len(text.encode()) > MAX_MEMBER:
            raise UnsupportedValue(f"a member's text must not have more than {MAX_MEMBER} bytes")
        return text

    def _members(self, texts: set[str]) -> set[T]:
        return cast("set[T]", texts) if self._plain else {self._codec.decode(text.encode()) for text in texts}
