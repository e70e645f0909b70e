"""Dialling: redis-py opens the socket, does TLS, authentication and handshake, and hands the transport over.

This is the one place that reaches into redis-py beyond its documentation, for the writer of a connection, as its own
parsers do; a test of the contract stands beside it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from typing import Any

import anyio.to_thread
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from polly_state.address import Address, Transport
from polly_state.connection.link import Link
from polly_state.connection.listener import LinkListener
from polly_state.errors import (
    AuthenticationFailed,
    ConfigurationError,
    DeadlineExceeded,
    StateError,
    StoreUnavailable,
    TLSFailed,
)
from polly_state.settings import Bounds

__all__ = ["Dialer", "take_writer"]


class Dialer:
    """Makes connections to one address, each ready for commands, within a deadline in seconds."""

    def __init__(self, address: Address, deadline: float, bounds: Bounds) -> None:
        self.address = address
        self._deadline = deadline
        self._bounds = bounds
        self._tls: ssl.SSLContext | None = None

    async def link(self, listener: LinkListener, deadline: float | None) -> Link:
        """A link over a new connection; *deadline* is for its commands. Raises as `dial` does."""
        connection = await self.dial()
        link = Link(listener, self._bounds, deadline)
        link.take_over(take_writer(connection))
        return link

    async def dial(self) -> AbstractConnection:
        """A connection with the handshake done.

        Raises:
            AuthenticationFailed: Redis wants another user or password.
            TLSFailed: The server's certificate is not trusted, or it speaks no TLS.
            ConfigurationError: It is no server that this package can use.
            StoreUnavailable: It cannot be reached within the deadline.
        """
        connection = self._connection()
        try:
            if isinstance(connection, SSLConnection):
                await self._prepare_tls(connection)
            async with asyncio.timeout(self._deadline):
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException as error:
            await connection.disconnect(nowait=True)
            translated = self._translate(error)
            if translated is error:
                raise
            raise translated from error
        return connection

    def _connection(self) -> AbstractConnection:
        address = self.address
        options: dict[str, Any] = {
            "db": address.db,
            "username": address.username,
            "password": None if address.password is None else address.password.reveal(),
            "protocol": 3,
            "decode_responses": False,
            "retry": Retry(NoBackoff(), 0),
            "driver_info": None,
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
            "socket_timeout": None,
            "socket_connect_timeout": self._deadline,
        }
        if address.transport is Transport.UNIX:
            return UnixDomainSocketConnection(path=address.path, **options)
        options |= {"host": address.host, "port": address.port}
        if address.transport is Transport.TCP:
            return Connection(**options)
        return SSLConnection(
            ssl_ca_certs=address.ca_file,
            ssl_certfile=address.certificate_file,
            ssl_keyfile=address.key_file,
            ssl_cert_reqs="required",
            ssl_check_hostname=True,
            ssl_min_version=ssl.TLSVersion.TLSv1_2,
            **options,
        )

    async def _prepare_tls(self, connection: SSLConnection) -> None:
        # Reading certificates takes tens of milliseconds: once, and not on the event loop.
        if self._tls is None:
            try:
                self._tls = await anyio.to_thread.run_sync(connection.ssl_context.get)
            except (OSError, ssl.SSLError) as error:
                raise TLSFailed(f"a TLS file for {self.address} cannot be read: {type(error).__name__}") from error
        connection.ssl_context.context = self._tls

    def _translate(self, error: BaseException) -> BaseException:
        where = self.address
        if isinstance(error, StateError) or not isinstance(error, (RedisError, OSError, TimeoutError)):
            return error
        if isinstance(error, (AuthenticationError, AuthorizationError)):
            return AuthenticationFailed(f"Redis at {where} refused the user name or password; check REDIS_PASSWORD")
        causes = list(_causes(error))
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            return TLSFailed(f"the certificate of {where} is not trusted: expired, for another host, or of another CA")
        if any(isinstance(cause, ssl.SSLError) and not _cut_short(cause) for cause in causes):
            return TLSFailed(f"no TLS connection to {where} could be made; does it speak TLS? Use redis:// if not")
        if isinstance(error, ResponseError):
            return self._translate_answer(str(error))
        if isinstance(error, TimeoutError) or any(isinstance(cause, TimeoutError) for cause in causes):
            hint = "; does it speak TLS? Use redis:// if not" if where.transport is Transport.TLS else ""
            return DeadlineExceeded(f"no connection to Redis at {where} within {self._deadline:g} s{hint}")
        hung_up = any(isinstance(cause, ConnectionResetError) for cause in causes)
        hung_up |= not any(isinstance(cause, OSError) for cause in causes)
        if hung_up and where.transport is Transport.TCP:
            return StoreUnavailable(f"Redis at {where} hung up during the handshake; if it wants TLS, use rediss://")
        return StoreUnavailable(f"no connection to Redis at {where}: {type(causes[-1]).__name__}")

    def _translate_answer(self, answer: str) -> StateError:
        if "unknown command" in answer or "NOPROTO" in answer:
            return ConfigurationError(f"Redis at {self.address} is too old: version 6.2 or newer is needed")
        if "DB index" in answer:
            return ConfigurationError(f"Redis at {self.address} has no such database number")
        if "permissions" in answer or "NOPERM" in answer:
            return AuthenticationFailed(f"the user may not connect to Redis at {self.address}; check its ACL")
        return StoreUnavailable(f"Redis at {self.address} refused the connection")


def take_writer(connection: AbstractConnection) -> asyncio.StreamWriter:
    """Take the open stream out of a redis-py connection, which is of no more use then.

    Raises `StoreUnavailable` if the stream has ended meanwhile.
    """
    writer: asyncio.StreamWriter | None = connection._writer  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    if writer is None or writer.is_closing():
        raise StoreUnavailable("the connection to Redis ended during the handshake")
    connection._reader = connection._writer = None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return writer


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _cut_short(error: ssl.SSLError) -> bool:
    return isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLWantReadError))
