"""The few words of the Redis protocol that these tests speak, without a client library."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from polly_state.testing.loopback import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def ask(url: str, *lines: str) -> list[bytes]:
    """Send inline commands over a connection of its own; return one reply line for each."""
    address = parse(url)
    family = socket.AF_INET if address.path is None else socket.AF_UNIX
    with socket.socket(family) as link, link.makefile("rb") as replies:
        link.settimeout(20.0)
        link.connect(address[:2] if address.path is None else address.path)
        link.sendall("".join(f"{line}\r\n" for line in lines).encode())
        return [replies.readline().strip() for _ in lines]


class Wire:
    """An asyncio connection that speaks inline commands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, line: str) -> None:
        self.writer.write(f"{line}\r\n".encode())

    async def reply(self) -> bytes:
        return (await asyncio.wait_for(self.reader.readline(), 20.0)).strip()

    async def ask(self, line: str) -> bytes:
        self.send(line)
        return await self.reply()

    async def silent(self, seconds: float = 0.05) -> bool:
        """Whether nothing, not even an end, comes within *seconds*."""
        try:
            await asyncio.wait_for(self.reader.readline(), seconds)
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def wired(url: str) -> AsyncIterator[Wire]:
    address = parse(url)
    wire = Wire(*await asyncio.open_connection(address.host, address.port))
    try:
        yield wire
    finally:
        wire.writer.transport.abort()
        await asyncio.sleep(0)
