"""The composition root: the only file that knows every part."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from polly_state.cache import CacheService
from polly_state.commands import load_scripts
from polly_state.coordination import Coordination
from polly_state.domains import Domains
from polly_state.events import EventLog, Mode, Observer, notify_all
from polly_state.keyspace import Keyspace
from polly_state.services import Preferences
from polly_state.settings import Settings
from polly_state.snapshots import Health, Statistics
from polly_state.stamps import HybridClock
from polly_state.store import ObservedStore
from polly_state.store.channels import Channels
from polly_state.store.local_stack import LocalStack
from polly_state.structures import Binding, Counters, Family, Fields, Log, Queue, Sets, Structure, Ttl, Values, seconds
from polly_state.structures.members import Members

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from polly_state.events import Event
    from polly_state.store.stack import Stack

__all__ = ["PollyState"]

T = TypeVar("T")
S = TypeVar("S", bound=Structure)


class PollyState(Coordination, Domains):
    """State and caches of a bot, in Redis while it answers and here while it does not.

    Build one, hand it to whoever needs it, and use it within ``async with`` or between `start` and `aclose`. It belongs
    to one event loop. Handles may be made before it is started.
    """

    def __init__(self, settings: Settings | None = None, *, observers: Iterable[Observer] | None = None) -> None:
        """Make one, to be started later; *observers* are told of every event, and None is an `EventLog`."""
        self.settings = Settings() if settings is None else settings
        self._observers = (EventLog(),) if observers is None else tuple(observers)
        self._clock = HybridClock()
        bounds = self.settings.bounds
        self._keyspace = Keyspace(
            max_entries=bounds.local_entries,
            max_bytes=bounds.local_bytes,
            spare_bytes=_spare_bytes(self.settings),
            mirror=not self.settings.embedded,
        )
        self._channels = Channels()
        self._store = ObservedStore(self._clock, self._channels)
        self._stack: Stack | None = None
        self._handles: dict[str, tuple[type, Any, float | None, Structure]] = {}
        self.preferences = Preferences(self.fields("preferences", bool))
        self.cache = CacheService(self._store, self.settings, self._observe)
        super().__init__()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """As the environment says; see `Settings.from_env`. Raises `ConfigurationError`, naming the variable."""
        return cls(Settings.from_env(os.environ if environ is None else environ))

    async def start(self) -> None:
        """Connect, or start degraded if Redis is away.

        Raises:
            ConfigurationError: Redis refuses the password or the certificate, or the directory cannot be used.
            StoreUnavailable: Redis is away, and settings say that it is required.
            RuntimeError: It was started before.
        """
        self._store.check_fresh()
        try:
            self._stack = await self._make_stack()
            self._store.open(await self._stack.open())
            self.cache.open(self._channels, self._stack.near)
            self._begin()
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """End all tasks and connections; writes that still wait for Redis get a moment, and are counted in the log.

        Whoever waits for a message or a change gets a `RuntimeError`, as for every later call.
        """
        await self.cache.aclose()
        await self._watchdog.aclose(self.settings.deadlines.close)
        self._store.close()
        if self._stack is not None:
            self._channels.close()
            await self._stack.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    @overload
    def map(self, name: str, *, ttl: Ttl | None = None) -> Values[object]: ...

    @overload
    def map(self, name: str, declared: type[T], *, ttl: Ttl | None = None) -> Values[T]: ...

    def map(self, name: str, declared: type[Any] = object, *, ttl: Ttl | None = None) -> Values[Any]:
        """Durable values of one type under ids of your own; without a type, whatever JSON gives back equal.

        Raises:
            TypeError: Values of the type cannot be stored.
            ValueError: The name is taken by another kind of family, or the ttl is out of bounds.
        """
        return self._handle(Values, name, declared, ttl, lambda binding: Values(binding, declared))

    @overload
    def fields(self, name: str, *, ttl: Ttl | None = None) -> Fields[object]: ...

    @overload
    def fields(self, name: str, declared: type[T], *, ttl: Ttl | None = None) -> Fields[T]: ...

    def fields(self, name: str, declared: type[Any] = object, *, ttl: Ttl | None = None) -> Fields[Any]:
        """Durable mappings from names to values of one type; raises as `map` does."""
        return self._handle(Fields, name, declared, ttl, lambda binding: Fields(binding, declared))

    def counters(self, name: str, *, ttl: Ttl | None = None) -> Counters:
        """Durable integers to add to; raises `ValueError` as `map` does."""
        return self._handle(Counters, name, int, ttl, Counters)

    def sets(self, name: str, declared: type[T], *, ttl: Ttl | None = None) -> Sets[T]:
        """Durable sets of members of one type; raises as `map` does."""
        return self._handle(Sets, name, declared, ttl, lambda binding: Sets(binding, declared))

    def log(self, name: str, declared: type[T], *, limit: int, ttl: Ttl | None = None) -> Log[T]:
        """Durable logs that keep their newest *limit* entries of one type; raises as `map` does."""
        return self._handle(Log, name, (declared, limit), ttl, lambda binding: Log(binding, declared, limit))

    def members(self, name: str, declared: type[T], *, limit: int, ttl: Ttl) -> Members[T]:
        """Durable mappings whose newest *limit* members end one by one, *ttl* after they were put; raises as `map`."""
        return self._handle(Members, name, (declared, limit), ttl, lambda binding: Members(binding, declared, limit))

    def queue(self, name: str, declared: type[T], *, ttl: Ttl | None = None) -> Queue[T]:
        """Durable queues of messages of one type; raises as `map` does."""
        return self._handle(Queue, name, declared, ttl, lambda binding: Queue(binding, declared))

    @property
    def mode(self) -> Mode:
        """Where commands are answered now."""
        if self._stack is None:
            return Mode.EMBEDDED if self.settings.embedded else Mode.CONNECTED
        return self._stack.mode

    def health(self) -> Health:
        """For a readiness probe: costs nothing, and asks nobody."""
        mode = self.mode
        available = mode in (Mode.CONNECTED, Mode.RECOVERING, Mode.READ_ONLY)
        return Health(self._store.opened and mode is not Mode.MISCONFIGURED, mode, available, self._pending())

    async def ping(self) -> float:
        """Seconds for a round trip to Redis. Raises `StoreUnavailable` if it is away, or none is configured."""
        return await self._started().ping()

    async def purge(self) -> None:
        """Wipe the whole namespace, for good: no journal and no repair brings anything of it back.

        What is written while it runs may go as well. Raises `StoreUnavailable` if Redis is away.
        """
        await self._started().purge()

    def statistics(self) -> Statistics:
        """Everything that is counted, now."""
        stack = self._stack
        return Statistics(
            mode=self.mode,
            pending=self._pending(),
            operations=self._store.statistics(),
            connection=None if stack is None else stack.connection(),
            journal=None if stack is None else stack.journal(),
            replay=None if stack is None else stack.replay(),
            repair=None if stack is None else stack.repair(),
            cache=self.cache.statistics(),
            near=None if stack is None else stack.near_statistics(),
            local_entries=len(self._keyspace),
            local_bytes=self._keyspace.size,
        )

    async def _make_stack(self) -> Stack:
        if self.settings.embedded:
            return LocalStack(self.settings, self._keyspace, self._clock, self._channels)
        # redis-py takes a tenth of a second to import, and scripts are files: not on the event loop.
        await asyncio.to_thread(_prepare, self.settings)
        from polly_state.store.redis_stack import RedisStack

        return RedisStack(self.settings, self._keyspace, self._clock, self._observe, self._channels)

    def _handle(self, kind: type, name: str, declared: Any, ttl: Ttl | None, make: Callable[[Binding], S]) -> S:
        lifetime, held = seconds(ttl), self._handles.get(name)
        if name.startswith(("cache.", "cache-")):
            raise ValueError(f"the family {name!r} would be among those of state.cache; choose another name")
        if held is None:
            family = Family(self.settings.namespace, name)
            limit = self.settings.bounds.value_bytes
            handle = make(Binding(self._store, family, lifetime, limit, self._channels, self._observe))
            held = self._handles[name] = (kind, declared, lifetime, handle)
        if held[:3] != (kind, declared, lifetime):
            raise ValueError(f"the family {name!r} exists already with another structure, type or ttl")
        return cast("S", held[3])

    def _started(self) -> Stack:
        if self._stack is None:
            raise RuntimeError("this PollyState was not started: use it within async with")
        return self._stack

    def _pending(self) -> int:
        return 0 if self._stack is None else self._stack.pending

    def _observe(self, event: Event) -> None:
        self._follow(event)
        notify_all(self._observers, event)


def _prepare(settings: Settings) -> None:
    import_module("polly_state.store.redis_stack")
    if settings.address is not None and settings.address.cluster:
        import_module("polly_state.cluster")
    load_scripts()


def _spare_bytes(settings: Settings) -> int:
    """What the mirror leaves of ``local_bytes`` to what is near, and to writes that wait for Redis."""
    bounds = settings.bounds
    return 0 if settings.embedded or not settings.near else min(bounds.near_bytes, bounds.local_bytes * 3 // 4)
