"""Tracking: Redis tells of every change to the keys of caches, over the connection that all share.

Why a read that was given a ticket first is right, over whichever connection: it is carried out after `begin`. A change
before it is in its answer. A change after it is told of after `begin`, and either finds the entry and drops it, or
comes first and bars the answer. So all it takes is that what Redis tells arrives, and in order, which the life of the
connection vouches for, and an answer over it that is not too long ago.

Keys are followed by prefix (BCAST): Redis keeps nothing for each key that was read, and one request is enough for all
that is ever read. Own writes are told of as well (no NOLOOP): one whose reply was lost may still happen.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

from polly_state.connection import ReplyError
from polly_state.connection.link import Link
from polly_state.connection.packing import pack
from polly_state.near.cache import NearCache
from polly_state.near.joint import Voucher
from polly_state.wire import Reply

__all__ = ["MANY", "SILENCE", "Tracking"]

#: Seconds since a question that was answered, after which nothing is handed out.
SILENCE: Final = 2.0
#: Seconds for which entries live where Redis does not tell of changes.
BRIEF: Final = 1.0
#: Changes told of at once that are too many to look at one by one: others wait for the event loop.
MANY: Final = 10_000


class Tracking:
    """Watches over a near cache, by one link after the other."""

    def __init__(
        self,
        near: NearCache | Voucher,
        prefix: str,
        *,
        silence: float = SILENCE,
        brief: float = BRIEF,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._near = near
        self._prefix = prefix
        self._silence = silence
        self._brief = brief
        self._monotonic = monotonic
        self._link: Link | None = None
        self._told = False

    async def follow(self, link: Link) -> None:
        """From now on, be told over *link*. Raises `StoreUnavailable` if it ends meanwhile."""
        if self._link is not None:
            self._end()
        self._link, self._told = link, False
        link.on_push, link.on_end = self._pushed, lambda: self._ended(link)
        asked_at = self._monotonic()
        reply = await link.submit(pack(("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._prefix)))
        if link is not self._link:
            return
        if isinstance(reply, ReplyError):
            self._near.trust_briefly(self._brief)
        else:
            self._told = True
            self._near.trust(asked_at + self._silence)

    async def beat(self, question: Callable[[], Awaitable[object]]) -> None:
        """Ask a *question* over the shared link: its answer comes after everything that Redis had told before."""
        link, asked_at = self._link if self._told else None, self._monotonic()
        await question()
        # The link that is followed is the shared one from before it is `told` of, so it has carried the question.
        if link is not None and link is self._link:
            self._near.trust(asked_at + self._silence)

    def _pushed(self, message: list[Reply]) -> None:
        if message[0] != b"invalidate":
            return
        keys = message[1]
        if keys is None or len(keys) > MANY:
            self._near.flush()
            return
        for key in keys:
            self._near.invalidate(key.decode(errors="surrogateescape"))

    def _ended(self, link: Link) -> None:
        if link is self._link:
            self._end()

    def _end(self) -> None:
        self._link = None
        self._near.distrust()
