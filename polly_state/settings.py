"""Everything that can be set, as frozen data, and how it is read from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import inf
from pathlib import Path
from typing import Final

from polly_state.address import Address, Secret, Transport
from polly_state.errors import ConfigurationError
from polly_state.lifetime import Lifetime

__all__ = ["Bounds", "BreakerSettings", "Deadlines", "Settings"]

MIB: Final = 1024 * 1024
MAX_VALUE_BYTES: Final = 8 * MIB
MAX_PORT: Final = 65_535
MAX_DEADLINE: Final = 60
FLAGS: Final = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
NAMESPACE_RULE: Final = "use letters, digits, '_', '.' and '-' only"
NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long things may take, in seconds."""

    operation: float = 0.25
    """One awaited call, its retry included."""
    connect: float = 0.25
    """Making a connection, with TLS, authentication and handshake."""
    close: float = 1.0
    """Closing everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When a circuit opens, and how soon it is probed."""

    consecutive_failures: int = 5
    failure_ratio: float = 0.5
    minimum_outcomes: int = 10
    """The ratio counts from so many outcomes in the window on."""
    window: float = 10.0
    probe_delay: float = 0.1
    """Seconds until the first probe of an open circuit; each failed one doubles it."""
    probe_delay_cap: float = 0.8
    probe_delay_misconfigured: float = 10.0
    """Seconds between probes while Redis refuses the password or the certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much there may be of anything held in this process."""

    in_flight_commands: int = 32_768
    in_flight_bytes: int = 64 * MIB
    value_bytes: int = MIB
    """The largest value that is written, encoded; 8 MiB at most."""
    shared_bytes: int = 64 * 1024
    """A command over this size goes over a connection of its own, so that others need not wait behind it."""
    dedicated_connections: int = 8
    local_entries: int = 100_000
    local_bytes: int = 64 * MIB
    journal_entries: int = 100_000
    journal_bytes: int = 64 * MIB
    ring_entries: int = 50_000
    """Acknowledged writes that are remembered for a minute, in case the server loses them."""
    ring_bytes: int = 32 * MIB
    near_entries: int = 100_000
    """Values of caches that are kept in process while Redis tells of changes."""
    near_bytes: int = 32 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one `PollyState` is to be. Nothing here shows a password in its repr.

    ``address`` None, or in memory, means that no Redis is used and the local store is the authority.
    ``directory`` is where writes that Redis does not have outlive this process, or all of the state without a Redis;
    it belongs to the processes of one host.
    ``required`` makes a start without Redis an error instead of a degraded start.
    ``cache`` gives families of `PollyState.cache` other lifetimes than their own, by name.
    ``processes`` is how many share the limits while Redis is away; None for as many as were last seen alive.
    ``repair`` sends again what a server has lost of its last minute; without it such a loss is only reported.
    ``near`` keeps values of caches in process, and asks Redis to tell of changes to them.
    """

    address: Address | None = None
    namespace: str = "polly"
    container_id: str | None = None
    directory: Path | None = None
    required: bool = False
    repair: bool = True
    cache: Mapping[str, Lifetime] = field(default_factory=dict[str, Lifetime], hash=False)
    near: bool = True
    processes: int | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    bounds: Bounds = field(default_factory=Bounds)

    def __post_init__(self) -> None:
        if not NAMESPACE.fullmatch(self.namespace):
            raise ConfigurationError(f"namespace: {NAMESPACE_RULE}")
        if self.directory is None and self.address is not None and self.address.transport is Transport.SQLITE:
            object.__setattr__(self, "directory", Path(self.address.path))
        if self.processes is not None and self.processes < 1:
            raise ConfigurationError("processes: must be at least 1, or None")
        if not 0 < self.bounds.value_bytes <= MAX_VALUE_BYTES:
            raise ConfigurationError("bounds.value_bytes: between 1 byte and 8 MiB")
        for name, part in (("deadlines", self.deadlines), ("breaker", self.breaker), ("bounds", self.bounds)):
            for setting in fields(part):
                if not 0 < getattr(part, setting.name) < inf:
                    raise ConfigurationError(f"{name}.{setting.name}: must be above 0")

    @property
    def embedded(self) -> bool:
        """Whether there is no Redis to use."""
        return self.address is None or self.address.transport in (Transport.MEMORY, Transport.SQLITE)

    @classmethod
    def from_url(cls, url: str, *, namespace: str = "polly", required: bool = False) -> Settings:
        """Settings for the Redis at *url*. Raises `ConfigurationError` for one that cannot be understood."""
        return cls(address=Address.parse(url), namespace=namespace, required=required)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Settings as environment variables have them; an empty one counts as not set.

        Read are ``REDIS_URL`` or ``VALKEY_URL``; else ``REDIS_HOST``, ``REDIS_PORT``, ``REDIS_DB``, ``REDIS_USERNAME``,
        ``REDIS_PASSWORD`` and ``REDIS_TLS``; ``USE_REDIS`` (true, false, auto), ``CONTAINER_ID`` and ``POLLY_STATE_*``.
        A URL wins over the parts. ``USE_REDIS=false`` wins over both, ``auto`` is the default: Redis if configured.

        Raises:
            ConfigurationError: A variable, named in the message, cannot be used.
        """
        variables = Variables(environ)
        bounds, deadlines = Bounds(), Deadlines()
        return cls(
            address=_address(variables),
            namespace=variables.name("POLLY_STATE_NAMESPACE", default="polly"),
            container_id=variables.text("CONTAINER_ID"),
            directory=variables.path("POLLY_STATE_DIR"),
            required=variables.flag("POLLY_STATE_REQUIRED", default=False),
            near=variables.flag("POLLY_STATE_NEAR", default=True),
            processes=variables.integer("POLLY_STATE_PROCESSES", default=0, least=0) or None,
            deadlines=Deadlines(
                operation=variables.seconds("POLLY_STATE_DEADLINE", default=deadlines.operation),
                connect=variables.seconds("POLLY_STATE_CONNECT_DEADLINE", default=deadlines.connect),
            ),
            bounds=Bounds(
                value_bytes=variables.integer(
                    "POLLY_STATE_VALUE_BYTES", default=bounds.value_bytes, most=MAX_VALUE_BYTES
                ),
                local_entries=variables.integer("POLLY_STATE_LOCAL_ENTRIES", default=bounds.local_entries),
                local_bytes=variables.integer("POLLY_STATE_LOCAL_BYTES", default=bounds.local_bytes),
                journal_entries=variables.integer("POLLY_STATE_JOURNAL_ENTRIES", default=bounds.journal_entries),
                journal_bytes=variables.integer("POLLY_STATE_JOURNAL_BYTES", default=bounds.journal_bytes),
                near_entries=variables.integer("POLLY_STATE_NEAR_ENTRIES", default=bounds.near_entries),
                near_bytes=variables.integer("POLLY_STATE_NEAR_BYTES", default=bounds.near_bytes),
            ),
        )


class Variables:
    """Environment variables by type; an empty one counts as not set, and every error names its variable."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str) -> str | None:
        return self._environ.get(name, "").strip() or None

    def name(self, name: str, *, default: str) -> str:
        text = self.text(name) or default
        if not NAMESPACE.fullmatch(text):
            raise ConfigurationError(f"{name}: {NAMESPACE_RULE}")
        return text

    def path(self, name: str) -> Path | None:
        text = self.text(name)
        return None if text is None else Path(text)

    def integer(self, name: str, *, default: int, least: int = 1, most: int = 2**53) -> int:
        text = self.text(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or not least <= int(text[:20]) <= most:
            raise ConfigurationError(f"{name}: must be a whole number from {least} to {most}")
        return int(text)

    def seconds(self, name: str, *, default: float) -> float:
        text = self.text(name)
        if text is None:
            return default
        try:
            seconds = float(text)
        except ValueError:
            # The cause would quote what may be a password in the wrong place.
            raise ConfigurationError(f"{name}: must be a number of seconds, such as 0.25") from None
        if not 0 < seconds <= MAX_DEADLINE:
            raise ConfigurationError(f"{name}: must be above 0 and at most {MAX_DEADLINE} seconds")
        return seconds

    def flag(self, name: str, *, default: bool) -> bool:
        text = (self.text(name) or str(default)).lower()
        if text not in FLAGS:
            raise ConfigurationError(f"{name}: must be true or false")
        return FLAGS[text]


def _address(variables: Variables) -> Address | None:
    use = (variables.text("USE_REDIS") or "auto").lower()
    if use not in FLAGS and use != "auto":
        raise ConfigurationError("USE_REDIS: must be true, false or auto")
    if use == "auto" or variables.flag("USE_REDIS", default=True):
        address = _address_of_url(variables) or _address_of_parts(variables)
        if address is None and use != "auto":
            raise ConfigurationError("USE_REDIS: is true, so set REDIS_URL or REDIS_HOST as well")
        return address
    return None


def _address_of_url(variables: Variables) -> Address | None:
    urls = {name: url for name in ("REDIS_URL", "VALKEY_URL") if (url := variables.text(name)) is not None}
    if len(set(urls.values())) > 1:
        raise ConfigurationError("REDIS_URL, VALKEY_URL: both are set and differ; keep one")
    return next((Address.parse(url, name=name) for name, url in urls.items()), None)


def _address_of_parts(variables: Variables) -> Address | None:
    host = variables.text("REDIS_HOST")
    if host is None:
        return None
    password = variables.text("REDIS_PASSWORD")
    return Address(
        transport=Transport.TLS if variables.flag("REDIS_TLS", default=False) else Transport.TCP,
        host=host,
        port=variables.integer("REDIS_PORT", default=6379, most=MAX_PORT),
        db=variables.integer("REDIS_DB", default=0, least=0),
        username=variables.text("REDIS_USERNAME"),
        password=None if password is None else Secret(password),
    )
