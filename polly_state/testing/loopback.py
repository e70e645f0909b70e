"""Addresses on this machine: free ports, and where a URL leads."""

from __future__ import annotations

import random
import socket
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

__all__ = ["HOST", "Address", "free_port", "parse", "through"]

HOST = "127.0.0.1"
DEFAULT_PORT = 6379
ATTEMPTS = 100


class Address(NamedTuple):
    """Where a server listens: a host and port, or the *path* of a Unix socket."""

    host: str = HOST
    port: int = 0
    path: str | None = None


def free_port() -> int:
    """Return a free loopback port outside the range that outgoing connections take theirs from.

    A client that keeps knocking on a closed port of that range ends up connected to itself, and
    the server that comes back finds its port taken.

    Raises:
        OSError: If no free port was found.
    """
    for _ in range(ATTEMPTS):
        port = random.randrange(10_000, 32_000)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError("no free port on the loopback interface")


def parse(url: str) -> Address:
    """Return where *url* leads: `redis://host:port`, `unix://path`, or plain `host:port`."""
    parts = urlsplit(url if "://" in url else f"redis://{url}")
    if parts.scheme == "unix" or parts.scheme.endswith("+unix"):
        return Address(path=unquote(parts.path))
    return Address(parts.hostname or HOST, parts.port or DEFAULT_PORT)


def through(url: str, port: int) -> str:
    """Return *url* led through the local *port*, with its scheme, credentials and database."""
    parts = urlsplit(url if "://" in url else f"redis://{url}")
    credentials, at, _ = parts.netloc.rpartition("@")
    netloc = f"{credentials}{at}{HOST}:{port}"
    if parse(url).path is None:
        return urlunsplit(parts._replace(netloc=netloc))
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return urlunsplit(("redis", netloc, f"/{database}", "", ""))
