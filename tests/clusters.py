"""A Cluster of real servers."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from redis.asyncio import Redis

from polly_state.testing import Server
from polly_state.testing.loopback import free_port
from tests.outages import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SLOTS = 16_384
NODE_TIMEOUT = 500


class Clustered:
    """Masters with their replicas, if any; all on one host."""

    def __init__(
        self, binary: Path, masters: int = 3, replicas: int = 0, spares: int = 0, coverage: str = "no", **parts: Any
    ) -> None:
        """With *coverage* no server answers while a slot has none; *spares* have no slots to begin with."""
        # Free ports are not kept free, so at least none is taken twice here.
        ports: set[int] = set()
        while len(ports) < masters + replicas + spares:
            ports.add(free_port())
        self.buses = [*ports]
        servers = [_server(binary, bus, coverage, **parts) for bus in self.buses]
        self.masters, self.replicas = servers[:masters], servers[masters : masters + replicas]
        self.spares = servers[masters + replicas :]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            asyncio.run(self._join())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def servers(self) -> list[Server]:
        return [*self.masters, *self.replicas, *self.spares]

    @property
    def url(self) -> str:
        """Where clients find it: at any of its servers."""
        login = self.masters[0].url.removeprefix("redis://").rpartition("@")
        return f"redis+cluster://{''.join(login[:2])}{','.join(f'127.0.0.1:{server.port}' for server in self.servers)}"

    def master_of(self, slot: int) -> Server:
        """Who has a slot, as long as none has moved."""
        return self.masters[slot * len(self.masters) // SLOTS]

    async def settled(self) -> None:
        """Wait until all that are up see all slots served."""
        async with asyncio.timeout(20):
            while not all([await self._well(server) for server in self.servers if server.running]):
                await asyncio.sleep(0.05)

    async def begin_to_move(self, slot: int, source: Server, target: Server) -> None:
        """From here on what is new goes to *target*, and what is there is asked for there."""
        names = [await ask(server, "CLUSTER", "MYID") for server in (source, target)]
        await ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", names[0])
        await ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", names[1])

    async def move(self, slot: int, source: Server, target: Server) -> None:
        """Bring a slot to another server while it is in use, one key after the other."""
        await self.begin_to_move(slot, source, target)
        while keys := await ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1):
            await ask(source, "MIGRATE", "127.0.0.1", target.port, keys[0], 0, 5000)
            await asyncio.sleep(0.005)
        name = await ask(target, "CLUSTER", "MYID")
        for server in (target, source):
            await ask(server, "CLUSTER", "SETSLOT", slot, "NODE", name)

    async def _join(self) -> None:
        count = len(self.masters)
        for number, server in enumerate(self.servers):
            await ask(server, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            await ask(server, "CLUSTER", "MEET", "127.0.0.1", self.masters[0].port, self.buses[0])
        for number, server in enumerate(self.masters):
            # The slots for which `master_of` names it.
            first, last = -(-SLOTS * number // count), -(-SLOTS * (number + 1) // count) - 1
            await ask(server, "CLUSTER", "ADDSLOTSRANGE", first, last)
        await self.settled()
        for number, server in enumerate(self.replicas):
            name = await ask(self.masters[number % count], "CLUSTER", "MYID")
            await ask(server, "CLUSTER", "REPLICATE", name)
        async with asyncio.timeout(20):
            while not all(
                ["master_link_status:up" in await ask(server, "INFO", "replication") for server in self.replicas]
            ):
                await asyncio.sleep(0.05)

    async def _well(self, server: Server) -> bool:
        state = await ask(server, "CLUSTER", "INFO")
        return "cluster_state:ok" in state and f"cluster_known_nodes:{len(self.servers)}" in state


@asynccontextmanager
async def clustered(binary: Path, **parts: Any) -> AsyncIterator[Clustered]:
    """A Cluster of one's own."""
    cluster = Clustered(binary, **parts)
    await in_thread(cluster.__enter__)
    try:
        yield cluster
    finally:
        await in_thread(cluster.__exit__)


async def ask(server: Server, *words: str | int) -> Any:
    """What one server answers, to a client that knows of no Cluster."""
    async with Redis.from_url(server.url, decode_responses=True) as client:
        # Replies as they are, whatever redis-py would make of them.
        client.response_callbacks.clear()
        return await client.execute_command(*words)


def _server(binary: Path, bus: int, coverage: str, **parts: Any) -> Server:
    options = {"enabled": "yes", "node-timeout": NODE_TIMEOUT, "require-full-coverage": coverage, "port": bus}
    arguments = [str(word) for name, value in options.items() for word in (f"--cluster-{name}", value)]
    return Server(binary, arguments=[*arguments, "--repl-diskless-sync-delay", "0"], **parts)
