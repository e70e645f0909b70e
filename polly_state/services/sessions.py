"""Sessions: what users are doing in a guild."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from polly_state.structures import Handles, Id
from polly_state.structures.base import field_name

__all__ = ["Session", "Sessions"]

DAY: Final = 86_400.0
HOUR: Final = 3600.0
COMMANDS: Final = 10
ACTIVE_USERS: Final = 1000


class Session(NamedTuple):
    """A user's session in a guild."""

    fields: dict[str, object]
    commands: list[str]
    """The last 10, newest first."""


class Sessions:
    """One session for each user and guild, for 24 hours after it was last used, and at most *most* for each user.

    Which there are says one mapping for each user, so that the number is exact; whoever logs in once more ends the
    session that was used least recently.
    """

    def __init__(self, handles: Handles, most: int = 5) -> None:
        self._open = handles.members("sessions", bool, limit=most, ttl=DAY)
        self._fields = handles.fields("session_fields", object, ttl=DAY)
        self._commands = handles.log("session_commands", str, limit=COMMANDS, ttl=DAY)
        self._active = handles.members("sessions_active", bool, limit=ACTIVE_USERS, ttl=DAY)

    async def create(self, user_id: str | int, guild_id: str | int, **fields: object) -> tuple[str, ...]:
        """Begin a session, or go on with it; the guilds whose sessions have ended for it.

        Raises `ValueError` for an id of more than 512 characters.
        """
        _ = field_name(str(user_id)), field_name(str(guild_id))
        if fields:
            await self._fields.patch((user_id, guild_id), fields)
        gone = await self._open.put(user_id, str(guild_id), value=True)
        await self._active.put(guild_id, str(user_id), value=True)
        await asyncio.gather(*(self._forget(user_id, guild) for guild in gone))
        return gone

    async def get(self, user_id: str | int, guild_id: str | int) -> Session | None:
        """The session; None only if there is none."""
        key = (user_id, guild_id)
        opened, fields, commands = await asyncio.gather(
            self._open.get(user_id, str(guild_id)), self._fields.all(key), self._commands.latest(key)
        )
        return None if opened is None else Session(fields, commands)

    async def patch(self, user_id: str | int, guild_id: str | int, **fields: object) -> bool:
        """Set these fields of a session, and no other, and use it; False if there is none, and then none is made."""
        return await self.touch(user_id, guild_id) and bool(await self._fields.patch((user_id, guild_id), fields))

    async def add_command(self, user_id: str | int, guild_id: str | int, command: str) -> bool:
        """Note a command in a session, and use it; False if there is none."""
        return await self.touch(user_id, guild_id) and bool(await self._commands.append((user_id, guild_id), command))

    async def touch(self, user_id: str | int, guild_id: str | int) -> bool:
        """Use a session, so that it lives for 24 hours from now; False if there is none."""
        used = await self._open.touch(user_id, str(guild_id))
        if used:
            await asyncio.gather(*(kept.touch((user_id, guild_id)) for kept in (self._fields, self._commands)))
            await self._active.put(guild_id, str(user_id), value=True)
        return used

    async def guilds(self, user_id: Id) -> list[str]:
        """The guilds in which a user has a session, the one used last first."""
        return list(await self._open.all(user_id))

    async def active(self, guild_id: str | int, within: float = HOUR) -> list[str]:
        """The users whose session in a guild was used in the last *within* seconds, the last one first."""
        users = await self._active.recent(guild_id, within)
        opened = await asyncio.gather(*(self._open.get(user, str(guild_id)) for user in users))
        return [user for user, there in zip(users, opened, strict=True) if there]

    async def end(self, user_id: str | int, guild_id: str | int) -> None:
        """End a session."""
        await self._open.remove(user_id, str(guild_id))
        await self._forget(user_id, guild_id)

    async def _forget(self, user_id: str | int, guild_id: str | int) -> None:
        await self._active.remove(guild_id, str(user_id))
        await asyncio.gather(self._fields.clear((user_id, guild_id)), self._commands.clear((user_id, guild_id)))
