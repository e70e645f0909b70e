"""Where Redis is, read from a URL by a parser that repeats no secret and lets no URL weaken TLS."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from polly_state.errors import ConfigurationError

__all__ = ["Address", "Secret", "Transport"]

DEFAULT_PORT: Final = 6379
SENTINEL_PORT: Final = 26_379
CLUSTER: Final = "+cluster"
SENTINEL: Final = "+sentinel"
PARAMETERS: Final = frozenset({"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})


class Secret:
    """A text that shows itself only to who asks by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(...)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not to be pickled")


class Transport(Enum):
    """How the bytes travel; MEMORY and SQLITE mean that there is no Redis."""

    TCP = "tcp"
    TLS = "tls"
    UNIX = "unix"
    MEMORY = "memory"
    SQLITE = "sqlite"


SCHEMES: Final = {
    "redis": Transport.TCP,
    "valkey": Transport.TCP,
    "rediss": Transport.TLS,
    "valkeys": Transport.TLS,
    "unix": Transport.UNIX,
    "redis+unix": Transport.UNIX,
    "valkey+unix": Transport.UNIX,
    "memory": Transport.MEMORY,
    "sqlite": Transport.SQLITE,
}
NETWORK: Final = (Transport.TCP, Transport.TLS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One Redis server, or several of one Cluster, with what it takes to be let in."""

    transport: Transport = Transport.TCP
    host: str = "localhost"
    port: int = DEFAULT_PORT
    nodes: tuple[tuple[str, int], ...] = ()
    """Servers of a Cluster, or Sentinels, by any of which the others are found; empty for a server by itself."""
    master: str = ""
    """What the Sentinels at *nodes* call the master they watch over; empty for a Cluster."""
    path: str = ""
    db: int = 0
    username: str | None = None
    password: Secret | None = None
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None

    @classmethod
    def parse(cls, url: str, *, name: str = "url") -> Address:
        """Read ``redis://``, ``rediss://``, ``unix://`` (or ``valkey``, ``valkeys``), ``memory://`` and ``sqlite:///dir``.

        A Cluster is ``redis+cluster://host:port,host:port``, with any of its servers; a master that Sentinels watch
        over is ``redis+sentinel://host:port,host:port/name/0``. Both exist for ``rediss`` and ``valkey`` too.

        Args:
            url: The URL; ``db``, ``ssl_ca_certs``, ``ssl_certfile`` and ``ssl_keyfile`` are its parameters.
            name: What errors call it, such as the environment variable it came from.

        Raises:
            ConfigurationError: It cannot be understood. The message never repeats the URL.
        """
        from urllib.parse import unquote, urlsplit

        # The causes below quote pieces of the URL, a password among them: hence ``from None``.
        try:
            parts = urlsplit(url)
            transport, several = _transport(parts.scheme.lower(), name)
            hosts = _hosts(parts.netloc, SENTINEL_PORT if several == SENTINEL else DEFAULT_PORT)
            host, port = hosts[0]
        except ValueError:
            raise ConfigurationError(f"{name}: not a URL; percent-encode special characters in the password") from None
        if parts.fragment or url.endswith("#"):
            raise ConfigurationError(f"{name}: has a '#'; percent-encode it as %23 in the password")
        if len(hosts) > 1 and not several:
            raise ConfigurationError(f"{name}: several hosts are for redis+cluster:// and redis+sentinel://")
        parameters = _parameters(parts.query, name)
        path = parts.path.strip("/") if transport in NETWORK else ""
        master, _, path = path.partition("/") if several == SENTINEL else ("", "", path)
        db = _database(parameters.get("db") or path or "0", name)
        if several == SENTINEL and not master:
            raise ConfigurationError(f"{name}: the master's name is missing, as in redis+sentinel://host/mymaster/0")
        if several == CLUSTER and db:
            raise ConfigurationError(f"{name}: a Cluster has no database but 0")
        return cls(
            transport=transport,
            host=host,
            port=port,
            nodes=hosts if several else (),
            master=unquote(master),
            path=_path(transport, parts.netloc, unquote(parts.path), name),
            db=db,
            username=unquote(parts.username) if parts.username else None,
            password=Secret(unquote(parts.password)) if parts.password else None,
            ca_file=parameters.get("ssl_ca_certs"),
            certificate_file=parameters.get("ssl_certfile"),
            key_file=parameters.get("ssl_keyfile"),
        )

    @property
    def cluster(self) -> bool:
        """Whether it is that of a Cluster."""
        return bool(self.nodes) and not self.master

    def at(self, host: str, port: int) -> Address:
        """That of one of the servers, with the same way in."""
        return replace(self, host=host, port=port, nodes=(), master="")

    def __str__(self) -> str:
        """Where it is, without the way in: fit for logs."""
        if self.transport is Transport.MEMORY:
            return "memory"
        if self.transport in (Transport.UNIX, Transport.SQLITE):
            return f"{self.transport.value}:{self.path}"
        if self.nodes:
            places = ",".join(f"{host}:{port}" for host, port in self.nodes)
            return f"{self.master}/{self.db} by {places}" if self.master else places
        return f"{self.host}:{self.port}/{self.db}"


def _transport(scheme: str, name: str) -> tuple[Transport, str]:
    """What a scheme stands for: how the bytes travel, and `CLUSTER`, `SENTINEL` or nothing."""
    several = next((each for each in (CLUSTER, SENTINEL) if scheme.endswith(each)), "")
    transport = SCHEMES.get(scheme.removesuffix(several))
    if transport is None or (several and transport not in NETWORK):
        known = [*SCHEMES, *(f"{each}{more}" for more in (CLUSTER, SENTINEL) for each in ("redis", "rediss"))]
        raise ConfigurationError(f"{name}: unknown scheme; use one of {', '.join(known)}")
    return transport, several


def _hosts(netloc: str, port: int) -> tuple[tuple[str, int], ...]:
    from urllib.parse import urlsplit

    places = [urlsplit(f"//{place}") for place in netloc.rpartition("@")[2].split(",")]
    return tuple((each.hostname or "localhost", port if each.port is None else each.port) for each in places)


def _path(transport: Transport, netloc: str, path: str, name: str) -> str:
    if transport is Transport.UNIX and not path:
        raise ConfigurationError(f"{name}: a socket path is missing, as in unix:///run/redis.sock")
    if transport is Transport.SQLITE and (netloc or not path.strip("/")):
        raise ConfigurationError(f"{name}: a directory is missing, as in sqlite:///var/lib/bot")
    return path if transport in (Transport.UNIX, Transport.SQLITE) else ""


def _database(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ConfigurationError(f"{name}: the database must be a number, as in redis://host:6379/0")
    return int(text)


def _parameters(query: str, name: str) -> dict[str, str]:
    from urllib.parse import parse_qsl

    parameters = dict(parse_qsl(query, keep_blank_values=True))
    if not parameters.keys() <= PARAMETERS:
        raise ConfigurationError(
            f"{name}: unknown query parameter; known are {', '.join(sorted(PARAMETERS))}. "
            "Timeouts, retries and TLS verification are not set in a URL"
        )
    return parameters
