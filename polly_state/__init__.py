"""The state and cache layer of asyncio bots, over Redis or Valkey, going on without it and losing nothing."""

from polly_state.address import Address, Secret
from polly_state.errors import (
    AuthenticationFailed,
    CircuitOpen,
    CommandRejected,
    ConfigurationError,
    CorruptValue,
    DeadlineExceeded,
    LocalStoreFull,
    Overloaded,
    StateError,
    StateUnavailable,
    StoreUnavailable,
    TLSFailed,
    UnsupportedValue,
)
from polly_state.events import Event, Mode, Observer
from polly_state.settings import Bounds, BreakerSettings, Deadlines, Settings
from polly_state.state import Health, PollyState, Statistics
from polly_state.store import Ack, Origin
from polly_state.structures import Counters, Delivery, Fields, Log, Members, Message, Queue, Read, Sets, Values

__all__ = [
    "Ack",
    "Address",
    "AuthenticationFailed",
    "Bounds",
    "BreakerSettings",
    "CircuitOpen",
    "CommandRejected",
    "ConfigurationError",
    "CorruptValue",
    "Counters",
    "DeadlineExceeded",
    "Deadlines",
    "Delivery",
    "Event",
    "Fields",
    "Health",
    "LocalStoreFull",
    "Log",
    "Members",
    "Message",
    "Mode",
    "Observer",
    "Origin",
    "Overloaded",
    "PollyState",
    "Queue",
    "Read",
    "Secret",
    "Sets",
    "Settings",
    "StateError",
    "StateUnavailable",
    "Statistics",
    "StoreUnavailable",
    "TLSFailed",
    "UnsupportedValue",
    "Values",
]
