"""Fields: a small mapping for each id, whose fields are written one by one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Generic, TypeVar

from polly_state.commands import ClearFields, GetField, GetFields, PatchFields, SwapFields, ToggleField
from polly_state.store import Ack
from polly_state.structures.base import Binding, Read, Structure, field_name
from polly_state.structures.codec import Codec
from polly_state.structures.keys import Id
from polly_state.structures.watch import watch

__all__ = ["Fields"]

T = TypeVar("T")

ANY = Ack.LOCAL_VOLATILE


class Fields(Structure, Generic[T]):
    """Durable mappings from names to values of one type; of two writes to one field, the newer wins.

    The ttl is that of the whole mapping, and starts anew with each write.
    """

    def __init__(self, binding: Binding, declared: type[T]) -> None:
        super().__init__(binding)
        self._codec = Codec(declared, max_bytes=binding.max_value_bytes)

    async def get(self, id: Id, field: str) -> T | None:
        """One field; None only if there is none."""
        content = (await self._store.execute(GetField(self._key(id), field_name(field))))[0]
        return None if content is None else self._codec.decode(content)

    async def read(self, id: Id, field: str, default: T | None = None) -> Read[T | None]:
        """One field with its origin and age; *default* if there is none, or none is known."""
        found = await self._read(GetField(self._key(id), field_name(field)), None)
        value = default if found.value is None else self._codec.decode(found.value)
        return Read(value, found.origin, found.age)

    async def all(self, id: Id) -> dict[str, T]:
        """Every field; empty only if there is none."""
        return self._values((await self._store.execute(GetFields(self._key(id)))).value)

    def watch(self, id: Id) -> AsyncGenerator[dict[str, T], None]:
        """Every field now, and again whenever any of them has changed; see `Values.watch`."""
        return watch(self._store, self._channels, GetFields(self._key(id)), self._values)

    async def set(self, id: Id, field: str, value: T, *, require: Ack = ANY) -> Ack:
        """Set one field."""
        return await self.patch(id, {field: value}, require=require)

    async def patch(self, id: Id, values: Mapping[str, T], *, require: Ack = ANY) -> Ack:
        """Set several fields at once, and no other. Raises `ValueError` if there is none to set."""
        if not values:
            raise ValueError("there is nothing to set")
        changes = {field_name(field): self._codec.encode(value) for field, value in values.items()}
        return await self._ack(PatchFields(self._key(id), self._stamp(), changes, self._ttl), require)

    async def delete(self, id: Id, *fields: str, require: Ack = ANY) -> Ack:
        """Drop fields by name. Raises `ValueError` if none is named; `clear` drops all."""
        if not fields:
            raise ValueError("name the fields to drop, or use clear()")
        changes = {field_name(field): None for field in fields}
        return await self._ack(PatchFields(self._key(id), self._stamp(), changes, self._ttl), require)

    async def patch_if(
        self, id: Id, expected: Mapping[str, T | None], values: Mapping[str, T | None], *, require: Ack = ANY
    ) -> bool:
        """Set several fields, or drop those given as None, if all *expected* ones are so; False if they are not.

        A field that is expected as None is one that is not there. Raises `ValueError` if there is nothing to change.
        """
        if not values:
            raise ValueError("there is nothing to set")
        command = SwapFields(self._key(id), self._stamp(), self._contents(expected), self._contents(values), self._ttl)
        return (await self._store.execute(command, require)).value

    async def delete_if(self, id: Id, field: str, expected: T, *also: str, require: Ack = ANY) -> bool:
        """Drop a field, and others *also*, if it is *expected*; False if something else is there, or nothing."""
        return await self.patch_if(id, {field: expected}, dict.fromkeys((field, *also)), require=require)

    async def touch(self, id: Id) -> bool:
        """Start the family's ttl anew; False if there is no field. Raises `ValueError` in a family without a ttl."""
        return await self._touch(id)

    async def clear(self, id: Id, *, require: Ack = ANY) -> Ack:
        """Drop every field."""
        return await self._ack(ClearFields(self._key(id), self._stamp()), require)

    async def toggle(self: Fields[bool], id: Id, field: str, *, require: Ack = ANY) -> bool:
        """Turn a switch, which counts as off while it is missing; the new state, exact among all processes."""
        command = ToggleField(self._key(id), self._stamp(), field_name(field), b"true", b"false", self._ttl)
        return (await self._store.execute(command, require)).value

    def _values(self, contents: Mapping[str, bytes]) -> dict[str, T]:
        return {field: self._codec.decode(content) for field, content in contents.items()}

    def _contents(self, values: Mapping[str, T | None]) -> dict[str, bytes | None]:
        return {
            field_name(field): None if value is None else self._codec.encode(value) for field, value in values.items()
        }
