"""Lifetimes: how long what is cached is good for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Final

from polly_state.errors import ConfigurationError

__all__ = ["MAX_CACHED", "Lifetime"]

MAX_CACHED: Final = 30 * 86_400.0
NUMBERS: Final = ("ttl", "stale", "throttle", "soft_timeout", "hard_timeout", "early", "jitter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """How long the values of a cache family are good for, and what is done when they no longer are; in seconds."""

    ttl: float
    """For so long a value is fresh; 30 days at most, what is stale included."""
    statuses: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)
    """The ttl of values with these statuses, in place of *ttl*."""
    status_field: str = "status"
    """The key or attribute of a value that holds its status."""
    stale: float = 3600.0
    """For so long after that it may still be given when the loader fails or is slow; 0 for never."""
    throttle: float = 10.0
    """After a failure a stale value is given for so long before the loader is tried again."""
    soft_timeout: float = 1.0
    """A loader that takes longer goes on in the background, if there is a stale value to give meanwhile."""
    hard_timeout: float = 30.0
    """A loader that takes longer is an error for who waits; its result is kept if it comes within four times that."""
    early: float = 1.0
    """How eagerly a value that is about to expire is loaded in the background: the beta of XFetch; 0 for never."""
    jitter: float = 0.05
    """Loaded values live up to this part shorter, so that they do not all expire at once."""
    near: bool = True
    """Whether values may be held in process; for those that are large or seldom asked for again, better not."""

    def __post_init__(self) -> None:
        for name in NUMBERS:
            _check_number(f"cache.{name}", getattr(self, name))
        for status, ttl in self.statuses.items():
            if not isinstance(status, str):
                raise ConfigurationError("cache.statuses: a status is a text, as it is found in the values")
            _check_number("cache.statuses", ttl)
        ttls = (self.ttl, *self.statuses.values())
        if not all(ttl > 0 and ttl + self.stale <= MAX_CACHED for ttl in ttls):
            raise ConfigurationError("cache: a ttl must be above 0, and at most 30 days together with stale")
        if min(self.stale, self.early) < 0 or min(self.throttle, self.soft_timeout, self.hard_timeout) <= 0:
            raise ConfigurationError("cache: times must be above 0; stale and early may be 0")
        if not 0 <= self.jitter < 1:
            raise ConfigurationError("cache.jitter: from 0 to less than 1")


def _check_number(name: str, number: object) -> None:
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not isfinite(number):
        raise ConfigurationError(f"{name}: a finite number, in seconds where it is a time")
