"""The state and cache layer of asyncio bots, over Redis or Valkey, going on without it and losing nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polly_state.address import Address, Secret
    from polly_state.cache import Cache, Cached, CachedFunction, CacheHealth, CacheService, CacheStatistics
    from polly_state.commands import Fate, Quota, Rule
    from polly_state.errors import (
        AuthenticationFailed,
        CircuitOpen,
        CommandRejected,
        ConfigurationError,
        CorruptValue,
        DeadlineExceeded,
        Fenced,
        LeaseLost,
        LoadFailed,
        LocalStoreFull,
        LockTaken,
        Overloaded,
        RateLimited,
        StateError,
        StateUnavailable,
        StoreUnavailable,
        TLSFailed,
        UnsupportedValue,
    )
    from polly_state.events import Event, Mode, Observer
    from polly_state.lifetime import Lifetime
    from polly_state.settings import Bounds, BreakerSettings, Deadlines, Settings
    from polly_state.snapshots import Health, Statistics
    from polly_state.state import PollyState
    from polly_state.store import Ack, Origin
    from polly_state.structures import (
        Counters,
        Decision,
        Delivery,
        Events,
        Fields,
        Gap,
        Lease,
        Leases,
        Limiter,
        Locks,
        Log,
        Members,
        Message,
        Presence,
        Queue,
        Read,
        Redemption,
        Roll,
        Semaphore,
        Sets,
        Tenure,
        Tokens,
        Values,
    )

__all__ = [
    "Ack",
    "Address",
    "AuthenticationFailed",
    "Bounds",
    "BreakerSettings",
    "Cache",
    "CacheHealth",
    "CacheService",
    "CacheStatistics",
    "Cached",
    "CachedFunction",
    "CircuitOpen",
    "CommandRejected",
    "ConfigurationError",
    "CorruptValue",
    "Counters",
    "DeadlineExceeded",
    "Deadlines",
    "Decision",
    "Delivery",
    "Event",
    "Events",
    "Fate",
    "Fenced",
    "Fields",
    "Gap",
    "Health",
    "Lease",
    "LeaseLost",
    "Leases",
    "Lifetime",
    "Limiter",
    "LoadFailed",
    "LocalStoreFull",
    "LockTaken",
    "Locks",
    "Log",
    "Members",
    "Message",
    "Mode",
    "Observer",
    "Origin",
    "Overloaded",
    "PollyState",
    "Presence",
    "Queue",
    "Quota",
    "RateLimited",
    "Read",
    "Redemption",
    "Roll",
    "Rule",
    "Secret",
    "Semaphore",
    "Sets",
    "Settings",
    "StateError",
    "StateUnavailable",
    "Statistics",
    "StoreUnavailable",
    "TLSFailed",
    "Tenure",
    "Tokens",
    "UnsupportedValue",
    "Values",
]

#: Where the names are, what everybody needs first.
PARTS = (
    "errors",
    "address",
    "lifetime",
    "events",
    "settings",
    "snapshots",
    "store",
    "state",
    "structures",
    "commands",
    "cache",
)


def __getattr__(name: str) -> Any:
    """Import what is asked for, as PEP 562 has it: an import of the package alone costs a program nothing."""
    if name in __all__:
        for part in PARTS:
            module = import_module(f"{__name__}.{part}")
            if name in module.__all__:
                return globals().setdefault(name, getattr(module, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
