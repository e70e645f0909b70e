"""A real Redis or Valkey server under the control of a test."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import ssl
import tempfile
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import quote

import anyio
import anyio.to_thread

from polly_state.testing.loopback import HOST, free_port
from polly_state.testing.process import Process

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Certificates", "Server", "ServerFailed"]

START_TIMEOUT = 10.0
LOG_LINES = 12
LONG_PATH = 70


class ServerFailed(RuntimeError):
    """A server did not come up; the message ends with its last log lines."""


class Certificates(NamedTuple):
    """PEM files for a server that speaks TLS, and the authority its clients trust."""

    certificate: Path
    key: Path
    authority: Path


class Server:
    """One Redis or Valkey process on an address of its own.

    It listens on a free loopback port, or on a Unix socket in a private folder, starts empty
    unless it keeps an append-only file, and dies with the process that started it. Starting and
    stopping block: on an event loop use `async with`, or run the methods in a thread.

    Args:
        binary: The server's executable; `available()` knows those of this machine.
        password: What clients have to send, if anything.
        unix: Listen on a Unix socket instead of a port.
        appendonly: Keep what was written over a restart, until `stop`.
        certificates: Speak TLS, and nothing else.
        arguments: More words for the server's command line.
    """

    def __init__(
        self,
        binary: str | Path,
        *,
        password: str | None = None,
        unix: bool = False,
        appendonly: bool = False,
        certificates: Certificates | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        if unix and certificates is not None:
            raise ValueError("a Unix socket does not speak TLS")
        self._binary = Path(binary)
        self._password = password
        self._appendonly = appendonly
        self._certificates = certificates
        self._arguments = tuple(arguments)
        self._process: Process | None = None
        self._folder = _private_folder()
        self._sweep = weakref.finalize(self, _sweep, self._folder, os.getpid())
        self.path = self._folder / "socket" if unix else None
        self.port = 0 if unix else free_port()

    def __repr__(self) -> str:
        where = self.path or f"{HOST}:{self.port}"
        return f"<Server {self._binary.name} at {where}, {'up' if self.running else 'down'}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await anyio.to_thread.run_sync(self.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.stop)

    @property
    def url(self) -> str:
        """Where clients find it, with the password; the same after every restart."""
        login = "" if self._password is None else f":{quote(self._password, safe='')}@"
        if self.path is not None:
            return f"unix://{login}{self.path}?db=0"
        scheme = "redis" if self._certificates is None else "rediss"
        return f"{scheme}://{login}{HOST}:{self.port}/0"

    @property
    def running(self) -> bool:
        """Whether the process is there, frozen or not."""
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            RuntimeError: If it is not running.
        """
        return self._running().pid

    def log(self) -> str:
        """Return what the server wrote to its log since it was built."""
        try:
            return (self._folder / "log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def start(self) -> None:
        """Start the process and wait until it answers.

        Raises:
            RuntimeError: If it is running already, or was stopped.
            ServerFailed: If it ended at once, or did not answer in time.
        """
        if self.running or not self._sweep.alive:
            raise RuntimeError(f"{self!r} is running already, or was stopped")
        self._folder.mkdir(mode=0o700, exist_ok=self._process is not None)
        configuration = self._folder / "server.conf"
        configuration.touch(mode=0o600)
        configuration.write_text("\n".join(self._directives()) + "\n")
        words: list[str | Path] = [self._binary, configuration, *self._arguments]
        self._process = process = Process(words, self._folder)
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if not process.running or time.monotonic() > deadline:
                process.kill()
                tail = "\n".join(self.log().splitlines()[-LOG_LINES:])
                raise ServerFailed(f"{self._binary} did not come up:\n{tail}")
            time.sleep(0.005)

    def freeze(self) -> None:
        """Stop the process where it stands (SIGSTOP): connections stay, answers do not come."""
        self._running().freeze()

    def thaw(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        self._running().thaw()

    def kill(self) -> None:
        """End the process without a goodbye (SIGKILL); nothing happens if it is gone already."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        """Start again on the same address, after a `kill` if it is still running."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End the process for good and delete its folder."""
        self.kill()
        self._sweep()

    def _running(self) -> Process:
        if self._process is None or not self._process.running:
            raise RuntimeError(f"{self!r} is not running")
        return self._process

    def _directives(self) -> list[str]:
        tls = self._certificates
        lines = [f"bind {HOST}", f"dir {_word(self._folder)}", 'save ""']
        lines.append(f"port {self.port if tls is None else 0}")
        lines.append(f"appendonly {'yes' if self._appendonly else 'no'}")
        if self.path is not None:
            lines += [f"unixsocket {_word(self.path)}", "unixsocketperm 700"]
        if self._password is not None:
            lines.append(f"requirepass {_word(self._password)}")
        if tls is not None:
            lines += [f"tls-port {self.port}", "tls-auth-clients no"]
            lines.append(f"tls-cert-file {_word(tls.certificate)}")
            lines.append(f"tls-key-file {_word(tls.key)}")
            lines.append(f"tls-ca-cert-file {_word(tls.authority)}")
        return lines

    def _answers(self) -> bool:
        family = socket.AF_INET if self.path is None else socket.AF_UNIX
        with contextlib.suppress(OSError), socket.socket(family) as plain:
            plain.settimeout(1.0)
            plain.connect((HOST, self.port) if self.path is None else str(self.path))
            with self._secured(plain) as connection, connection.makefile("rb") as replies:
                if self._password is not None:
                    connection.sendall(f"AUTH {_word(self._password)}\r\n".encode())
                    replies.readline()
                connection.sendall(b"PING\r\n")
                return replies.readline().startswith((b"+PONG", b"-NOAUTH", b"-NOPERM"))
        return False

    def _secured(self, plain: socket.socket) -> socket.socket:
        if self._certificates is None:
            return plain
        context = ssl.create_default_context(cafile=self._certificates.authority)
        return context.wrap_socket(plain, server_hostname=HOST)


def _private_folder() -> Path:
    """Name a folder that nobody can guess, and that leaves room for the name of a socket."""
    parent = tempfile.gettempdir()
    if len(parent) > LONG_PATH:
        parent = "/tmp"  # noqa: S108 - the folder in it is private
    return Path(parent, f"polly-{secrets.token_hex(8)}")


def _sweep(folder: Path, owner: int) -> None:
    """Delete *folder*, unless this is a fork of its owner."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _word(value: str | Path) -> str:
    """Quote *value* for a configuration file or an inline command."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in str(value).encode()) + '"'
