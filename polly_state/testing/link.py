"""One connection through a proxy: the client's side, the server's, and two lanes between them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from polly_state.testing.loopback import Address
    from polly_state.testing.weather import Weather

    Lane = asyncio.Queue[tuple[float, float, bytes]]

__all__ = ["Link", "Traffic"]

CHUNK = 64 * 1024
LANE_LENGTH = 256
GOODBYE = 1.0
TURNS = 4
NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Traffic:
    """Bytes that went all the way, in each direction."""

    requested: int = 0
    replied: int = 0


class _Exhausted(Exception):
    """As many reply bytes as were allowed have passed."""


class Link:
    """A connection of a client and its twin to the server; it ends when its task does.

    Bytes never change their order. Once replies were dropped nothing that comes later would make
    sense to the client, so a `lossy` link is only good for a reset.
    """

    def __init__(self, accepted: socket.socket, weather: Weather, traffic: Traffic) -> None:
        self.lossy = False
        self.allowance = weather.faults.allowance
        self._accepted = accepted
        self._weather = weather
        self._traffic = traffic
        self._task: asyncio.Task[None] | None = None
        self._client: asyncio.StreamWriter | None = None
        self._server: asyncio.StreamWriter | None = None

    def start(self, upstream: Address) -> asyncio.Task[None]:
        """Start to forward to and from *upstream*; the task is done when the link is over."""
        self._task = asyncio.create_task(self._run(upstream), name="FaultProxy link")
        # A task that is cancelled before its first step closes nothing by itself.
        self._task.add_done_callback(lambda _: self._accepted.close())
        return self._task

    def interject(self, reply: bytes) -> None:
        """Send the client *reply*, which the server never sent."""
        if self._client is not None:
            self._client.write(reply)

    def reset(self) -> None:
        """End the connection with an RST instead of a goodbye."""
        with contextlib.suppress(OSError):
            self._accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        if self._task is not None:
            self._task.cancel()

    async def _run(self, upstream: Address) -> None:
        requests, self._client = await asyncio.open_connection(sock=self._accepted)
        try:
            replies, self._server = await _connect(upstream)
            async with asyncio.TaskGroup() as group:
                self._lay(group, requests, self._server, self._request)
                self._lay(group, replies, self._client, self._reply)
        except* _Exhausted:
            await _say_goodbye(self._client)
        except* OSError:
            if self._server is None:
                await _say_goodbye(self._client)
            else:
                self.reset()
        finally:
            self._client.transport.abort()
            if self._server is not None:
                self._server.transport.abort()

    def _lay(
        self,
        group: asyncio.TaskGroup,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        forward: Callable[[bytes], Awaitable[None]],
    ) -> None:
        lane: Lane = asyncio.Queue(LANE_LENGTH)
        group.create_task(_read(reader, lane), name="FaultProxy reader")
        group.create_task(self._write(lane, writer, forward), name="FaultProxy writer")

    async def _write(
        self,
        lane: Lane,
        writer: asyncio.StreamWriter,
        forward: Callable[[bytes], Awaitable[None]],
    ) -> None:
        chunk = b"more"
        while chunk:
            arrival, luck, chunk = await lane.get()
            await self._weather.let_through(arrival, luck)
            await forward(chunk)
        writer.write_eof()

    async def _request(self, chunk: bytes) -> None:
        if self._server is not None:
            await self._send(self._server, chunk)
            self._traffic.requested += len(chunk)

    async def _reply(self, chunk: bytes) -> None:
        if self._weather.faults.dropping and chunk:
            self.lossy = True
        if self.lossy or self._client is None:
            return
        if self.allowance is not None:
            chunk = chunk[: self.allowance]
            self.allowance -= len(chunk)
        await self._send(self._client, chunk)
        self._traffic.replied += len(chunk)
        if self.allowance == 0:
            raise _Exhausted

    async def _send(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        size = self._weather.faults.piece or CHUNK
        for start in range(0, len(chunk), size):
            writer.write(chunk[start : start + size])
            await writer.drain()
            if size < CHUNK:
                await _take_turns()


async def _read(reader: asyncio.StreamReader, lane: Lane) -> None:
    clock = asyncio.get_running_loop().time
    chunk = b"more"
    while chunk:
        chunk = await reader.read(CHUNK)
        await lane.put((clock(), random.random(), chunk))


async def _take_turns() -> None:
    """Give a reader on the same loop the time to take a piece before the next one comes."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def _connect(upstream: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if upstream.path is not None:
        return await asyncio.open_unix_connection(upstream.path)
    return await asyncio.open_connection(upstream.host, upstream.port)


async def _say_goodbye(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        async with asyncio.timeout(GOODBYE):
            await writer.wait_closed()
