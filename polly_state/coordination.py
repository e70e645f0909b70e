"""Coordination: the handles by which tasks and processes keep out of each other's way."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from polly_state.events import Mode, ModeChanged
from polly_state.keyspace import Keyspace
from polly_state.services import Limits
from polly_state.store import LocalStore
from polly_state.structures import (
    Binding,
    Events,
    Leases,
    Limiter,
    Locks,
    Presence,
    Semaphore,
    Standing,
    Structure,
    Tokens,
    Ttl,
    Watchdog,
)
from polly_state.structures.base import needed

if TYPE_CHECKING:
    from polly_state.commands import OnOutage, Quota, Rule
    from polly_state.events import Event
    from polly_state.settings import Settings
    from polly_state.stamps import HybridClock
    from polly_state.store import ObservedStore

__all__ = ["Coordination", "Scope"]

S = TypeVar("S", bound=Structure)
T = TypeVar("T")

Scope = Literal["redis", "local"]
"""Among whom a lock holds: all processes, or the tasks of this one."""

CENSUS_TTL: Final = 6.0
PRESENCE_TTL: Final = 30.0
LOCK_TTL: Final = 30.0
AWAY: Final = (Mode.DEGRADED, Mode.READ_ONLY, Mode.MISCONFIGURED)


class Coordination:
    """The part of `PollyState` that makes them, and keeps alive what this process holds."""

    settings: Settings
    _store: ObservedStore
    _clock: HybridClock

    def __init__(self) -> None:
        self._watchdog = Watchdog()
        self._local: LocalStore | None = None
        self._standing: Standing | None = None
        self._shared_limits = False
        self._there_since = float("-inf")
        self.limits = Limits(self.limiter)

    @property
    def presence(self) -> Presence:
        """Who is there: processes of the bot, users in a room."""
        return self._presence("presence", PRESENCE_TTL)

    def limiter(self, name: str, *rules: Rule | Quota, on_outage: OnOutage = "share") -> Limiter:
        """Limits under ids of your own, each with all of the rules; raises `ValueError` as `map` does."""

        def make(binding: Binding) -> Limiter:
            return Limiter(binding, rules, on_outage, lambda: self.processes)

        limiter = self._handle(Limiter, name, (rules, on_outage), None, make)
        self._shared_limits = self._shared_limits or on_outage == "share"
        self._take_census()
        return limiter

    def locks(self, name: str = "locks", *, ttl: Ttl = LOCK_TTL, scope: Scope = "redis") -> Locks:
        """Locks under ids of your own, which end *ttl* seconds after the last sign of life; raises as `map` does."""
        lifetime = _lifetime(ttl)

        def make(binding: Binding) -> Locks:
            return Locks(self._scoped(binding, scope), self._watchdog, lifetime)

        return self._handle(Locks, name, (lifetime, scope), None, make)

    def leases(self, name: str) -> Leases:
        """Leases under ids of your own, held by named owners; raises `ValueError` as `map` does."""
        return self._handle(Leases, name, None, None, Leases)

    def semaphore(self, name: str, limit: int, *, ttl: Ttl = LOCK_TTL, scope: Scope = "redis") -> Semaphore:
        """*limit* permits for each of your own ids, which end *ttl* seconds after the last sign of life."""
        lifetime = _lifetime(ttl)

        def make(binding: Binding) -> Semaphore:
            return Semaphore(self._scoped(binding, scope), self._watchdog, lifetime, limit)

        return self._handle(Semaphore, name, (limit, lifetime, scope), None, make)

    def tokens(self, name: str, declared: type[T], *, ttl: Ttl) -> Tokens[T]:
        """Tokens that are good once, for *ttl* seconds, with values of one type; raises as `map` does."""
        lifetime = _lifetime(ttl)
        return self._handle(
            Tokens, name, (declared, lifetime), None, lambda binding: Tokens(binding, declared, lifetime)
        )

    def events(self, name: str, declared: type[T]) -> Events[T]:
        """Messages of one type, under ids of your own, to whoever listens at the moment; raises as `map` does."""
        return self._handle(Events, name, declared, None, lambda binding: Events(binding, declared))

    @property
    def processes(self) -> int:
        """How many processes share the limits while Redis is away: a setting, or as many as were last seen."""
        if self.settings.processes is not None:
            return self.settings.processes
        return 1 if self._standing is None else max(1, self._standing.heard)

    def _presence(self, name: str, lifetime: float) -> Presence:
        def make(binding: Binding) -> Presence:
            return Presence(binding, self._watchdog, lifetime, self._there_for)

        return self._handle(Presence, name, lifetime, None, make)

    def _begin(self) -> None:
        """Redis, if there is one, may be asked from now on."""
        if not self.settings.embedded:
            self._there_since = time.monotonic()
        self._take_census()

    def _take_census(self) -> None:
        """Be counted among the processes that share limits, from the first such limit on."""
        wanted = self._shared_limits and self.settings.processes is None and not self.settings.embedded
        if wanted and self._store.opened and self._standing is None:
            census = self._presence("processes", CENSUS_TTL)
            self._standing = census.join("limits", f"{self.settings.container_id or 'process'}-{self._clock.origin}")

    def _scoped(self, binding: Binding, scope: Scope) -> Binding:
        if scope not in ("redis", "local"):
            raise ValueError('scope is "redis" or "local"')
        if scope == "redis":
            return binding
        if self._local is None:
            bounds = self.settings.bounds
            keyspace = Keyspace(max_entries=bounds.local_entries, max_bytes=bounds.local_bytes)
            self._local = LocalStore(keyspace, self._clock)
        return binding._replace(store=self._local, channels=None)

    def _there_for(self) -> float:
        return time.monotonic() - self._there_since

    def _follow(self, event: Event) -> None:
        """Note for how long Redis has been there; *event* is any."""
        if isinstance(event, ModeChanged) and event.previous in AWAY:
            self._there_since = time.monotonic()

    def _handle(self, kind: type, name: str, declared: Any, ttl: Ttl | None, make: Callable[[Binding], S]) -> S:
        raise NotImplementedError


def _lifetime(ttl: Ttl) -> float:
    return needed(ttl, "what is held needs a ttl")
