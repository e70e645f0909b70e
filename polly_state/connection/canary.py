"""The canary: what goes to a Redis in doubt first, so that no user's call has to."""

from __future__ import annotations

import asyncio
import secrets

from polly_state.connection.dial import Dialer
from polly_state.connection.link import Link
from polly_state.connection.listener import Unheard
from polly_state.connection.packing import pack
from polly_state.connection.refusals import Concern, concern_of, translated
from polly_state.connection.replies import ReplyError
from polly_state.errors import StoreUnavailable
from polly_state.settings import Settings
from polly_state.wire import Reply

__all__ = ["Canary"]

LIFETIME_MS = 5000


class Canary(Unheard):
    """Writes a nonce and reads it back, over a fresh connection each time.

    PING would not do: it fails where reads work (MISCONF), and succeeds where writes fail (OOM, READONLY).
    """

    def __init__(self, dialer: Dialer, settings: Settings) -> None:
        self._dialer = dialer
        self._deadline = settings.deadlines.operation
        self._prefix = f"{settings.namespace}:~canary:"
        self.tag = ""
        """What the server takes keys with, where that matters."""

    async def probe(self) -> ReplyError | None:
        """None if Redis writes and reads; its reply to the write, if that was an error.

        Raises `StoreUnavailable` or `ConfigurationError` if it does not answer, or answers nonsense.
        """
        link = await self._dialer.link(self, self._deadline)
        try:
            nonce = secrets.token_hex(8)
            key = f"{self._prefix}{{{self.tag}}}:{nonce}"
            written, read = await asyncio.gather(
                self._ask(link, "SET", key, nonce, "PX", LIFETIME_MS),
                self._ask(link, "GET", key),
            )
        finally:
            link.close("probe done")
        if isinstance(written, ReplyError):
            if concern_of(written) is Concern.LINK:
                raise translated(written)
            return written
        if read != nonce.encode():
            raise StoreUnavailable("Redis did not give back what was written a moment ago")
        return None

    async def _ask(self, link: Link, *words: str | bytes | int) -> Reply:
        return await link.submit(pack(words))
