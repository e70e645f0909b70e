"""The limit: the least that a client in Python can do, and so the most that one can reach."""

from __future__ import annotations

import asyncio
from collections import deque

import hiredis

__all__ = ["Bare"]


class Bare(asyncio.Protocol):
    """One connection without deadlines, bounds, errors or an end.

    A call packs its command with hiredis and gets a future; what comes in one turn of the loop
    leaves in one write; replies are handed out as they are.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._more = object()
        self._reader = hiredis.Reader(notEnoughData=self._more)
        self._pending = deque()
        self._buffer = []
        self.transport = None

    def call(self, *words):
        future = self._loop.create_future()
        self._pending.append(future)
        if not self._buffer:
            self._loop.call_soon(self._flush)
        self._buffer.append(hiredis.pack_command(words))
        return future

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        gets, more, take = self._reader.gets, self._more, self._pending.popleft
        self._reader.feed(data)
        while (reply := gets()) is not more:
            take().set_result(reply)

    def _flush(self):
        buffer, self._buffer = self._buffer, []
        self.transport.write(b"".join(buffer))
