"""What happened, as frozen data, for whoever observes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

__all__ = [
    "CacheEntryUnreadable",
    "CircuitChanged",
    "ConnectionLost",
    "ConnectionOpened",
    "Event",
    "EventLog",
    "EvictingServer",
    "MessagePutAside",
    "MessageUnreadable",
    "Mode",
    "ModeChanged",
    "Observer",
    "OperationDead",
    "Replayed",
    "ServerLoss",
    "notify_all",
]


class Mode(Enum):
    """Where commands are answered, and why."""

    EMBEDDED = "embedded"
    """No Redis is configured: the local store is the authority."""
    CONNECTED = "connected"
    """Redis answers."""
    DEGRADED = "degraded"
    """Redis does not answer: reads come from what was last known, durable writes are kept for later."""
    READ_ONLY = "read_only"
    """Redis answers reads and refuses writes, which are kept for later."""
    RECOVERING = "recovering"
    """Redis answers, and the writes that were kept are on their way to it."""
    MISCONFIGURED = "misconfigured"
    """Redis refuses the password, the user or the certificate: every call raises."""


class ConnectionOpened(NamedTuple):
    """A connection to Redis was made."""

    address: str
    seconds: float
    """How long it took."""


class ConnectionLost(NamedTuple):
    """The shared connection ended; *unsent* commands never left, *unknown* ones may have run."""

    address: str
    reason: str
    unsent: int
    unknown: int


class CircuitChanged(NamedTuple):
    """A circuit of the breaker, ``link`` or ``write``, went from one state to another."""

    circuit: str
    state: str
    reason: str


class ModeChanged(NamedTuple):
    """The whole went from one mode to another, after *seconds* in which so many calls were *answered* without Redis."""

    previous: Mode
    mode: Mode
    reason: str
    seconds: float
    answered: int = 0


class Replayed(NamedTuple):
    """Writes that were kept during an outage reached Redis; *superseded* ones met a newer value there."""

    operations: int
    superseded: int
    pending: int


class OperationDead(NamedTuple):
    """A kept write was refused by Redis for good, or is too old, and is kept apart."""

    command: str
    code: str


class EvictingServer(NamedTuple):
    """Redis is set up to drop data when its memory is full, by this *policy*: acknowledged writes may vanish."""

    policy: str


class ServerLoss(NamedTuple):
    """Redis has lost writes that it had acknowledged, or may have.

    *resent* ones go to it again, most of which it may have; *possible_loss* is how many older ones may be gone at most.
    """

    resent: int
    possible_loss: int


class CacheEntryUnreadable(NamedTuple):
    """An entry of a cache *family* was damaged, or is of something else that writes there; it counts as a miss."""

    family: str


class MessagePutAside(NamedTuple):
    """A message of a queue *family* is not delivered any more.

    The *reason* is "deliveries", for one that was delivered too often, "unreadable", for one whose value is of another
    type, or "foreign", for what something else has put there.
    """

    family: str
    reason: str


class MessageUnreadable(NamedTuple):
    """A message to listeners of a *family* was damaged, or is of something else that publishes there; it is skipped."""

    family: str


Event: TypeAlias = (
    ConnectionOpened
    | ConnectionLost
    | CircuitChanged
    | ModeChanged
    | Replayed
    | OperationDead
    | ServerLoss
    | EvictingServer
    | CacheEntryUnreadable
    | MessagePutAside
    | MessageUnreadable
)
Observer: TypeAlias = Callable[[Event], None]
"""Called at once, on the event loop: it must be quick. What it raises is logged and goes no further."""

_log = logging.getLogger("polly_state")
MINUTE: Final = 60.0
LINES: Final = 10
_QUIET = (ConnectionOpened, ConnectionLost, CircuitChanged)


def notify_all(observers: Iterable[Observer], event: Event) -> None:
    """Tell every observer, whatever an earlier one raises."""
    for observer in observers:
        try:
            observer(event)
        except Exception:  # noqa: BLE001 - whatever an observer does, the others and the state go on
            _log.exception("an observer failed at %s", type(event).__name__)


class EventLog:
    """The observer that writes a line per transition to the ``polly_state`` logger.

    Of one kind of event it writes ten lines a minute at most, and then how many more there were: a Redis that comes and
    goes all day fills no disk.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[type[Any], _Minute] = {}

    def __call__(self, event: Event) -> None:
        """Write it, or count it."""
        now = self._clock()
        minute = self._kinds.setdefault(type(event), _Minute(now))
        if now >= minute.began + MINUTE:
            if minute.events > LINES:
                _log.warning("%d more like this were not logged: %s", minute.events - LINES, type(event).__name__)
            minute.began, minute.events = now, 0
        minute.events += 1
        if minute.events <= LINES:
            _log.log(_level(event), "%s", event)


class _Minute:
    """How many events of one kind there were since."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.events = 0


def _level(event: Event) -> int:
    if isinstance(event, _QUIET) or (isinstance(event, Replayed) and event.pending):
        return logging.DEBUG
    calm = isinstance(event, ModeChanged) and event.mode in (Mode.CONNECTED, Mode.EMBEDDED, Mode.RECOVERING)
    return logging.INFO if calm or isinstance(event, Replayed) else logging.WARNING
