"""A network between a client and a real server, with faults to switch on and off."""

from __future__ import annotations

import asyncio
import socket
from typing import Self

from polly_state.testing.link import Link, Traffic
from polly_state.testing.loopback import HOST, free_port, parse, through
from polly_state.testing.weather import Weather

__all__ = ["FaultProxy"]


class FaultProxy:
    """Forwards connections to *upstream*; its faults add up and last until `heal`.

    Enter it with `async with`, connect to its `url`, and switch faults while the client works.
    Switching never waits and concerns open and later connections alike.

    Args:
        upstream: Where the server is: a `redis://`, `rediss://` or `unix://` URL, or `host:port`.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = parse(upstream)
        self.port = free_port()
        self.url = through(upstream, self.port)
        self.connections = 0
        self._traffic = Traffic()
        self._weather = Weather()
        self._links: dict[asyncio.Task[None], Link] = {}
        self._listener: socket.socket | None = None

    async def __aenter__(self) -> Self:
        self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def open(self) -> int:
        """How many connections are open now; `connections` counts all there ever were."""
        return len(self._links)

    @property
    def requested(self) -> int:
        """Bytes that reached the server."""
        return self._traffic.requested

    @property
    def replied(self) -> int:
        """Bytes that reached the client."""
        return self._traffic.replied

    def delay(self, seconds: float, jitter: float = 0.0) -> None:
        """Let bytes arrive *seconds* later, each way, plus a random share of *jitter* seconds."""
        self._weather.change(delay=seconds, jitter=jitter)

    def hold(self) -> None:
        """Accept and keep connections, but forward nothing; `heal` lets all of it through."""
        self._weather.change(held=True)

    def drop_replies(self) -> None:
        """Let the server do its work, but lose its answers.

        A connection that lost some is of no use any more, and reset by `heal`.
        """
        self._weather.change(dropping=True)

    def slice(self, size: int) -> None:
        """Forward in pieces of at most *size* bytes."""
        if size < 1:
            raise ValueError(f"cannot slice into pieces of {size} bytes")
        self._weather.change(piece=size)

    def truncate(self, size: int) -> None:
        """Let each connection reply with *size* more bytes, then close it."""
        self._weather.change(allowance=size)
        for link in self._links.values():
            link.allowance = size

    def reset(self) -> None:
        """Reset (RST) all open connections; new ones are welcome."""
        for link in self._links.values():
            link.reset()

    def redirect(self, upstream: str) -> None:
        """Take new connections to another server; open ones stay where they are."""
        self._upstream = parse(upstream)

    def extra_reply(self, reply: bytes) -> None:
        """Send *reply* to every client now, though none has asked for it."""
        for link in self._links.values():
            link.interject(reply)

    def refuse(self) -> None:
        """Refuse new connections; open ones stay."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def heal(self) -> None:
        """End all faults, and accept connections again."""
        self._weather.clear()
        for link in self._links.values():
            link.allowance = None
            if link.lossy:
                link.reset()
        if self._listener is None:
            self._listen()

    async def aclose(self) -> None:
        """Stop listening, end all connections and wait until they are gone."""
        self.refuse()
        tasks = list(self._links)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # An aborted transport closes its socket in the next turn of the loop.
        await asyncio.sleep(0)

    def _listen(self) -> None:
        self._listener = socket.create_server((HOST, self.port), backlog=1024)
        self._listener.settimeout(0)
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            accepted.settimeout(0)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            link = Link(accepted, self._weather, self._traffic)
            task = link.start(self._upstream)
            self._links[task] = link
            task.add_done_callback(self._links.pop)
