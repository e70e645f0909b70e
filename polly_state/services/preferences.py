"""Preferences: whether a user wants voice replies from a bot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from polly_state.store import Ack
from polly_state.structures import MAX_FIELD_NAME, Fields, Read

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["Imported", "Preferences"]


class Imported(NamedTuple):
    """What an import has written."""

    users: int
    preferences: int
    ack: Ack
    """The weakest of all."""


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
        users = await asyncio.to_thread(read, path)
        acks = [await self._switches.patch(user_id, switches) for user_id, switches in users.items()]
        return Imported(len(users), sum(map(len, users.values())), min(acks, default=Ack.REMOTE))


def read(path: str | PathLike[str]) -> dict[int, dict[str, bool]]:
    """The preferences in the file at *path*. Raises as `Preferences.import_file` does; it blocks."""
    from pathlib import Path

    return parse(Path(path).read_bytes())


def parse(content: bytes) -> dict[int, dict[str, bool]]:
    """The preferences in a file, by user and bot. Raises `ValueError`, naming the entry but not repeating it."""
    import json

    try:
        entries = json.loads(content)
    except ValueError:
        raise ValueError("not a JSON file") from None
    form = '"<user id>:<bot>": true or false'
    if type(entries) is not dict:
        raise ValueError(f"expected an object with entries of the form {form}")
    users: dict[int, dict[str, bool]] = {}
    for number, (name, enabled) in enumerate(entries.items(), start=1):
        user, _, bot = name.partition(":")
        if not (user.isascii() and user.isdigit() and 0 < len(bot) <= MAX_FIELD_NAME and isinstance(enabled, bool)):
            raise ValueError(f"entry {number}: expected {form}")
        users.setdefault(int(user), {})[bot] = enabled
    return users
