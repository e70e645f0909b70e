"""A Cluster of real servers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from redis.asyncio import Redis

from polly_state.testing import Server
from polly_state.testing.loopback import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SLOTS = 16_384
NODE_TIMEOUT = 500


class Clustered:
    """Masters with their replicas, if any; all on one host."""

    def __init__(self, binary: Path, masters: int, replicas: int) -> None:
        self.buses = [free_port() for _ in range(masters + replicas)]
        servers = [_server(binary, bus) for bus in self.buses]
        self.masters, self.replicas = servers[:masters], servers[masters:]

    @property
    def servers(self) -> list[Server]:
        return [*self.masters, *self.replicas]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{server.port}' for server in self.servers)}"

    async def join(self) -> None:
        """Make one Cluster of them, and wait until all know that."""
        count = len(self.masters)
        for number, server in enumerate(self.servers):
            await ask(server, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            await ask(server, "CLUSTER", "MEET", "127.0.0.1", self.masters[0].port, self.buses[0])
        for number, server in enumerate(self.masters):
            first, last = SLOTS * number // count, SLOTS * (number + 1) // count - 1
            await ask(server, "CLUSTER", "ADDSLOTSRANGE", first, last)
        await self.settled()
        for number, server in enumerate(self.replicas):
            name = await ask(self.masters[number % count], "CLUSTER", "MYID")
            await ask(server, "CLUSTER", "REPLICATE", name)
        await self.settled()

    async def settled(self) -> None:
        """Wait until all that are up see all slots served, and each other."""
        async with asyncio.timeout(20):
            while not all([await self._well(server) for server in self.servers if server.running]):
                await asyncio.sleep(0.05)

    async def _well(self, server: Server) -> bool:
        state = await ask(server, "CLUSTER", "INFO")
        return state["cluster_state"] == "ok" and int(state["cluster_known_nodes"]) == len(self.servers)


@asynccontextmanager
async def clustered(binary: Path, masters: int = 3, replicas: int = 0) -> AsyncIterator[Clustered]:
    cluster = Clustered(binary, masters, replicas)
    async with AsyncExitStack() as stack:
        for server in cluster.servers:
            await stack.enter_async_context(server)
        await cluster.join()
        yield cluster


async def ask(server: Server, *words: str | int) -> object:
    """What one server answers, to a client that knows of no Cluster."""
    async with Redis.from_url(server.url, decode_responses=True) as client:
        return await client.execute_command(" ".join(map(str, words[:2])), *words[2:])


def _server(binary: Path, bus: int) -> Server:
    options = {
        "--cluster-enabled": "yes",
        "--cluster-node-timeout": NODE_TIMEOUT,
        "--cluster-port": bus,
        "--repl-diskless-sync-delay": 0,
    }
    return Server(binary, arguments=[str(word) for option in options.items() for word in option])
