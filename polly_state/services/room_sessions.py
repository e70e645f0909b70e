"""Room sessions: which session has a room, from its start until it ends or falls silent."""

from __future__ import annotations

from typing import Final, Protocol

from polly_state.structures import Id, Leases, Tenure, Ttl

__all__ = ["Leasing", "RoomSessions"]

STARTING: Final = 60.0
RUNNING: Final = 86_400.0
STALE: Final = 30.0


class Leasing(Protocol):
    """Who makes leases by name, as `PollyState` does."""

    def leases(self, name: str) -> Leases:
        """Leases under ids."""
        ...


class RoomSessions:
    """At most one session for each room, whatever becomes of the process that holds it.

    Raises `StoreUnavailable` while Redis is away, since nobody could tell: that is neither free nor taken.
    """

    def __init__(self, handles: Leasing, *, starting: Ttl = STARTING, stale: Ttl = STALE) -> None:
        """A session has *starting* seconds to start, and one that is silent for *stale* seconds may be taken over."""
        self._leases = handles.leases("room_sessions")
        self._starting = starting
        self._stale = stale

    async def claim(self, room: Id, session: str) -> Tenure:
        """Have the room for a session that is about to start, unless another one has it; who has it then."""
        return await self._leases.claim(room, session, ttl=self._starting, stale=self._stale)

    async def run(self, room: Id, session: str) -> bool:
        """The session has started; False if it does not have the room any more, and then it must not go on."""
        return await self._leases.advance(room, session, ttl=RUNNING)

    async def keep(self, room: Id, session: str) -> bool:
        """The session is well, to be said every few seconds; False if it does not have the room any more."""
        return await self._leases.keep_alive(room, session, ttl=RUNNING)

    async def end(self, room: Id, session: str) -> bool:
        """The session has ended; False if another one has had the room since, which keeps it."""
        return await self._leases.release(room, session)

    async def holder(self, room: Id) -> Tenure | None:
        """The session that has the room, its phase and for how long it was silent; None only if none has it."""
        return await self._leases.holder(room)
