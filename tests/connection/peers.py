"""Peers that speak just enough of the Redis protocol to misbehave in it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import hiredis

from polly_state.connection.link import Link
from polly_state.settings import Bounds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

HELLO = b"%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"


def bulk(content: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(content), content)


def echo(words: list[bytes]) -> bytes:
    """Answer with the last word, so that a caller knows its own reply."""
    return bulk(words[-1])


def redis_like(words: list[bytes]) -> bytes:
    """Answer as a Redis does that knows nothing but how to be connected to."""
    match words[0]:
        case b"HELLO":
            return HELLO
        case b"TIME":
            return b"*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n"
        case _:
            return b"+OK\r\n"


class Memory:
    """Answers as a Redis of a few strings does; `quiet` holds the commands it does not answer."""

    def __init__(self) -> None:
        self.strings: dict[bytes, bytes] = {}
        self.quiet: set[bytes] = set()

    def __call__(self, words: list[bytes]) -> bytes | None:
        if words[0] in self.quiet:
            return None
        if words[0] == b"SET":
            self.strings[words[1]] = words[2]
        if words[0] == b"GET":
            content = self.strings.get(words[1])
            return b"_\r\n" if content is None else bulk(content)
        return redis_like(words)


class Peer:
    """Listens on a free port; *answer* gives the bytes for a command, and None keeps quiet."""

    def __init__(self, answer: Callable[[list[bytes]], bytes | None] = echo) -> None:
        self.answer = answer
        self.commands: list[list[bytes]] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.open = 0
        self.reading = asyncio.Event()
        self.reading.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    @property
    def port(self) -> int:
        return self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def say(self, content: bytes) -> None:
        for writer in self.writers:
            writer.write(content)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        self.writers.append(writer)
        self.open += 1
        requests = hiredis.Reader()
        try:
            await self.reading.wait()
            while chunk := await reader.read(65536):
                requests.feed(chunk)
                while (words := requests.gets()) is not False:
                    self.commands.append(words)
                    if (reply := self.answer(words)) is not None:
                        writer.write(reply)
                await self.reading.wait()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            writer.transport.abort()


class Listener:
    """Keeps what a link tells."""

    def __init__(self) -> None:
        self.replies = 0
        self.late: list[tuple[int, bool]] = []
        self.losses: list[tuple[str, int, int]] = []

    def answered(self, link: Link, count: int) -> None:
        self.replies += count

    def overdue(self, link: Link, count: int, *, silent: bool) -> None:
        self.late.append((count, silent))

    def lost(self, link: Link, reason: str, unsent: int, unknown: int) -> None:
        self.losses.append((reason, unsent, unknown))


class Counted(asyncio.Transport):
    """A transport that counts its writes."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self._transport.write(data)

    def abort(self) -> None:
        self._transport.abort()

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._transport.get_protocol()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._transport.set_protocol(protocol)


class CountedWriter:
    """Stands for a stream writer over a counted transport."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.stream = writer
        self.transport = Counted(writer.transport)


@asynccontextmanager
async def linked(port: int, *, deadline: float | None = 10.0, **bounds: int) -> AsyncIterator[Link]:
    """A link to a local port; its `listener` keeps what it tells, its `writes` what it wrote."""
    _, stream = await asyncio.open_connection("127.0.0.1", port)
    writer = CountedWriter(stream)
    listener = Listener()
    link = Link(listener, Bounds(**bounds), deadline)
    link.take_over(writer)
    link.listener, link.writes = listener, writer.transport.writes
    try:
        yield link
    finally:
        link.close("done")
        await asyncio.sleep(0)
