"""Leases: what a named owner holds, in phases, over the end of any one process."""

from __future__ import annotations

from typing import Final, NamedTuple

from polly_state.commands import Acquire, Grant, Holder, Release, Renew
from polly_state.structures.base import Structure, Ttl, field_name, needed, seconds
from polly_state.structures.keys import Id

__all__ = ["Leases", "Tenure"]

PENDING: Final = "pending"
RUNNING: Final = "running"


class Tenure(NamedTuple):
    """Who holds a lease."""

    granted: bool
    """Whether the asker does."""
    owner: str
    phase: str
    fence: int
    """Above that of every earlier owner."""
    remaining: float
    """Seconds until it ends, unless it is kept alive."""
    silent: float
    """Seconds since the owner was heard of."""


class Leases(Structure):
    """Leases under ids of one's own. Nothing renews them but their owners, who are names and may be any process.

    They fail closed, as locks do: every method raises `StoreUnavailable` while Redis is away, and `holder` raises
    `StateUnavailable`. What was sent twice, by the same owner, is done once.
    """

    async def claim(self, id: Id, owner: str, *, ttl: Ttl, phase: str = PENDING, stale: Ttl | None = None) -> Tenure:
        """Hold it for *ttl* seconds, unless another does; who holds it then.

        With *stale*, take it over from an owner who was not heard of for so many seconds.
        """
        words = Acquire(self._key(id), field_name(owner), _ttl(ttl), field_name(phase), seconds(stale))
        return _tenure((await self._store.execute(words)).value)

    async def advance(self, id: Id, owner: str, phase: str = RUNNING, *, ttl: Ttl) -> bool:
        """Go on to another phase, for *ttl* seconds from now; False if the owner does not hold it."""
        words = Renew(self._key(id), field_name(owner), _ttl(ttl), field_name(phase))
        return (await self._store.execute(words)).value

    async def keep_alive(self, id: Id, owner: str, *, ttl: Ttl) -> bool:
        """Hold on for *ttl* seconds from now, in the same phase; False if the owner does not hold it."""
        return (await self._store.execute(Renew(self._key(id), field_name(owner), _ttl(ttl)))).value

    async def release(self, id: Id, owner: str) -> bool:
        """Hold it no more; False if another has held it since the owner did, or the owner never did."""
        return (await self._store.execute(Release(self._key(id), field_name(owner)))).value

    async def holder(self, id: Id) -> Tenure | None:
        """Who holds it; None if nobody does."""
        grant = (await self._store.execute(Holder(self._key(id)))).value
        return None if grant is None else _tenure(grant)


def _tenure(grant: Grant) -> Tenure:
    return Tenure(grant.granted, grant.token, grant.phase, grant.fence, grant.remaining, grant.silent)


def _ttl(ttl: Ttl) -> float:
    return needed(ttl, "a lease has a ttl")
