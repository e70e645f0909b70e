"""What can go wrong, as a tree.

StateError
|- StoreUnavailable         Redis did not take the command in time; ``maybe_applied`` tells if it could have
|  |- CircuitOpen             it was not even tried
|  |- DeadlineExceeded        it was tried, and time ran out
|  `- Overloaded              too much is in flight in this process
|- StateUnavailable         Redis is away and nothing is known here: not the same as "there is none"
|- CommandRejected          Redis answered, and the answer was an error (``code``)
|  `- Fenced                  a later holder has written, so that this one must not
|- ConfigurationError       a setting cannot work as it stands
|  |- AuthenticationFailed    wrong or missing user name or password
|  `- TLSFailed               the certificate did not convince, or TLS could not be set up
|- CorruptValue             what is stored is not what its type promises
|- UnsupportedValue         a value that would not come back equal, or is too large
|- LoadFailed               a cache's loader took too long, or was cancelled from within
|- LockTaken              another holds the lock, or all permits are taken
|- LeaseLost              a lock could not be kept, and what ran under it was cancelled
|- RateLimited            a limit allows no more for now; ``retry_after`` tells for how long
`- LocalStoreFull           a local bound is reached; nothing was dropped and nothing was written

Wrong arguments are ``ValueError`` and ``TypeError``, as everywhere in Python.
No message carries a value, a password or a URL.
"""

from __future__ import annotations

__all__ = [
    "AuthenticationFailed",
    "CircuitOpen",
    "CommandRejected",
    "ConfigurationError",
    "CorruptValue",
    "DeadlineExceeded",
    "Fenced",
    "LeaseLost",
    "LoadFailed",
    "LocalStoreFull",
    "LockTaken",
    "Overloaded",
    "RateLimited",
    "StateError",
    "StateUnavailable",
    "StoreUnavailable",
    "TLSFailed",
    "UnsupportedValue",
]


class StateError(Exception):
    """Whatever this package raises on its own account.

    ``maybe_applied`` is true when the command had left this process: it may have run, and may still run.
    """

    maybe_applied = False


class StoreUnavailable(StateError):
    """Redis could not be used in time."""

    def __init__(self, message: str, *, maybe_applied: bool = False) -> None:
        super().__init__(message)
        self.maybe_applied = maybe_applied


class CircuitOpen(StoreUnavailable):
    """Redis failed a moment ago, so the command was answered without trying."""


class DeadlineExceeded(StoreUnavailable):
    """No answer came within the deadline."""


class Overloaded(StoreUnavailable):
    """More commands or bytes are in flight than this process allows; send less, or raise the bounds."""


class StateUnavailable(StateError):
    """Redis is away and this process knows nothing of the key: neither a value nor that there is none."""


class CommandRejected(StateError):
    """Redis refused the command for good, so trying again would fail again; ``code`` is its first word."""

    def __init__(self, message: str, *, code: str = "ERR") -> None:
        super().__init__(message)
        self.code = code


class Fenced(CommandRejected):
    """A write came with a lower fence than was seen: what its writer held is another's by now. Nothing was written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="FENCED")


class ConfigurationError(StateError):
    """A setting, named in the message, cannot work as it stands."""


class AuthenticationFailed(ConfigurationError):
    """Redis did not accept the user name or password, or asks for one."""


class TLSFailed(ConfigurationError):
    """No trusted TLS connection could be made."""


class CorruptValue(StateError):
    """A stored value is not what its declared type promises; it is never taken for a missing one."""


class UnsupportedValue(StateError):
    """The value would not come back equal, or is over the size bound; nothing was written."""


class LoadFailed(StateError):
    """A cache's loader gave no result in time, or was cancelled from within; what it raises itself goes on as it is."""


class LocalStoreFull(StateError):
    """A local bound is reached, so the write was refused and nothing else was dropped to make room."""


class RateLimited(StateError):
    """A limit allows no more within the time given; it may be tried again *retry_after* seconds later."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LockTaken(StateError):
    """Redis has answered, and others hold it; not the same as a Redis that is away."""


class LeaseLost(StateError):
    """What was held could not be kept, so that another may hold it by now; the block under it was cancelled."""
