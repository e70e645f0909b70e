"""A master, its replica, and Sentinels that watch over them: real servers all."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from polly_state.testing import Server
from tests.outages import in_thread
from tests.testing.wire import ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NAME = "mymaster"


class Watched:
    """A master, a replica, and three Sentinels that watch over them."""

    def __init__(self, binary: Path, *, sentinel_password: str | None = None, **parts: Any) -> None:
        self._login = [] if sentinel_password is None else [f"AUTH {sentinel_password}"]
        self.master, self.replica = (Server(binary, **parts) for _ in range(2))
        # What Sentinels write down belongs to them: their own file, not the one that a server is started with.
        self.sentinels = [Server(binary, arguments=("--sentinel",), password=sentinel_password) for _ in range(3)]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{each.port}' for each in self.sentinels)}/{NAME}/0"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in (self.master, self.replica, *self.sentinels):
                stack.enter_context(server)
            ask(self.replica.url, *self._login, f"REPLICAOF 127.0.0.1 {self.master.port}")
            for sentinel in self.sentinels:
                told = ask(
                    sentinel.url,
                    *self._login,
                    f"SENTINEL MONITOR {NAME} 127.0.0.1 {self.master.port} 2",
                    f"SENTINEL SET {NAME} down-after-milliseconds 300",
                    f"SENTINEL SET {NAME} failover-timeout 2000",
                )
                assert told[-3:] == [b"+OK"] * 3
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def master_now(self) -> Server | None:
        """Which of the two takes writes; None while neither, or both, say that they do."""
        servers = [each for each in (self.master, self.replica) if each.running]
        masters = [each for each in servers if b"role:master" in b"".join(told(each, "INFO replication"))]
        return masters[0] if len(masters) == 1 else None

    async def settled(self) -> None:
        """Wait until the Sentinels know each other and the replica."""
        async with asyncio.timeout(30):
            while not all(self._knows(each) for each in self.sentinels):
                await asyncio.sleep(0.1)

    def _knows(self, sentinel: Server) -> bool:
        return b"slaves=1,sentinels=3" in b"".join(told(sentinel, "INFO sentinel"))


def told(server: Server, words: str) -> list[bytes]:
    """All lines of one bulk reply."""
    with socket.create_connection(("127.0.0.1", server.port)) as link, link.makefile("rb") as replies:
        link.sendall(f"{words}\r\n".encode())
        return [replies.read(int(replies.readline()[1:]))]


@asynccontextmanager
async def watched(binary: Path, **parts: Any) -> AsyncIterator[Watched]:
    """All of them, for the length of the block."""
    group = Watched(binary, **parts)
    await in_thread(group.__enter__)
    try:
        yield group
    finally:
        await in_thread(group.__exit__)
