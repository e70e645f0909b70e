"""Preferences: whether a user wants voice replies from a bot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from polly_state.services.preferences_file import Imported, read_preferences
from polly_state.store import Ack
from polly_state.structures import Fields, Read

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["Preferences"]


class Preferences:
    """One switch for each user and bot, off until it is turned on, kept for good."""

    def __init__(self, switches: Fields[bool]) -> None:
        self._switches = switches

    async def is_enabled(self, user_id: int, bot: str) -> bool:
        """Whether it is on. Raises `StateUnavailable` when that is not known; `read` says off then, and says why."""
        return bool(await self._switches.get(user_id, bot))

    async def read(self, user_id: int, bot: str) -> Read[bool | None]:
        """The switch with its origin and age: fit for every reply of a bot, since it never fails in an outage."""
        return await self._switches.read(user_id, bot, default=False)

    async def set(self, user_id: int, bot: str, enabled: bool) -> Ack:  # noqa: FBT001
        """Turn it on or off."""
        return await self._switches.set(user_id, bot, enabled)

    async def toggle(self, user_id: int, bot: str) -> bool:
        """Turn it over; the new state, exact also when many do so at once."""
        return await self._switches.toggle(user_id, bot)

    async def all(self, user_id: int) -> dict[str, bool]:
        """Every switch that the user has touched, by bot."""
        return await self._switches.all(user_id)

    async def delete(self, user_id: int, bot: str) -> Ack:
        """Forget the switch, which is off then."""
        return await self._switches.delete(user_id, bot)

    async def import_file(self, path: str | PathLike[str]) -> Imported:
        """Take over a JSON file of the form ``{"<user id>:<bot>": true, ...}``.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is not of that form; then nothing is written.
        """
        users = await asyncio.to_thread(read_preferences, path)
        acks = [await self._switches.patch(user_id, switches) for user_id, switches in users.items()]
        return Imported(len(users), sum(map(len, users.values())), min(acks, default=Ack.REMOTE))
