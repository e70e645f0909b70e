"""Rooms: what is open in a room, and who is in which."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final, NamedTuple

from polly_state.store import Ack
from polly_state.structures import Handles, Id

__all__ = ["Active", "Rooms"]

DAY: Final = 86_400.0
CONFIG_TTL: Final = 300.0
MODE: Final = "mode"


class Active(NamedTuple):
    """A thing that is open in a room."""

    id: str
    owner: str


class Rooms:
    """What each room shows, for 24 hours after the last change; the room of each user; the latest config, for 5 min."""

    def __init__(self, handles: Handles) -> None:
        self._shown = handles.fields("rooms", str, ttl=DAY)
        self._room_of = handles.map("room_of_user", str, ttl=DAY)
        self._configs = handles.map("room_configs", object, ttl=CONFIG_TTL)

    async def open(self, room: Id, kind: str, id: str, owner: str = "unknown") -> Ack:
        """Show a thing of a kind, such as a note or an applet, instead of another one of that kind."""
        return await self._shown.patch(room, {f"active:{kind}": id, f"owner:{kind}": owner})

    async def active(self, room: Id, kind: str) -> Active | None:
        """What is open of that kind; None only if nothing is."""
        shown = await self._shown.all(room)
        opened = shown.get(f"active:{kind}")
        return None if opened is None else Active(opened, shown.get(f"owner:{kind}", "unknown"))

    async def close(self, room: Id, kind: str, id: str | None = None) -> bool:
        """Show nothing of that kind; with an *id* only if it is still that one, else False."""
        if id is not None:
            return await self._shown.delete_if(room, f"active:{kind}", id, f"owner:{kind}")
        return bool(await self._shown.delete(room, f"active:{kind}", f"owner:{kind}"))

    async def mode(self, room: Id, default: str = "home") -> str:
        """The mode of the room; *default* if none was set."""
        return await self._shown.get(room, MODE) or default

    async def set_mode(self, room: Id, mode: str) -> Ack:
        """Set the mode of the room."""
        return await self._shown.set(room, MODE, mode)

    async def clear(self, room: Id) -> Ack:
        """Show nothing, in the default mode: all at once."""
        return await self._shown.clear(room)

    async def move(self, user_id: Id, room: str) -> Ack:
        """A user is in this room now, and in no other."""
        return await self._room_of.set(user_id, room)

    async def room_of(self, user_id: Id) -> str | None:
        """The room of a user; None only if they are in none."""
        return await self._room_of.get(user_id)

    async def leave(self, user_id: Id, room: str) -> bool:
        """A user is in no room; False if they were not in this one any more, and then nothing changes."""
        return await self._room_of.delete_if(user_id, room)

    async def set_config(self, room: Id, config: object) -> Ack:
        """Keep the latest config of a room."""
        return await self._configs.set(room, config)

    async def config(self, room: Id) -> object | None:
        """The latest config; None only if there is none."""
        return await self._configs.get(room)

    def watch_config(self, room: Id) -> AsyncGenerator[object | None, None]:
        """The latest config, and each newer one; see `Values.watch`."""
        return self._configs.watch(room)
