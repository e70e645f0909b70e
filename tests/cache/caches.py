"""What the tests of the cache share: services over a store whose time is turned by hand, and a source to load from."""

from __future__ import annotations

import asyncio

from polly_state import Settings
from polly_state.cache import CacheService
from polly_state.lifetime import Lifetime
from polly_state.store.channels import Channels
from tests.outages import Record
from tests.stores import LocalBench

__all__ = ["BRIEF", "Source", "Virtual"]

BRIEF = Lifetime(ttl=10.0, stale=100.0, throttle=5.0, soft_timeout=0.02, hard_timeout=0.5, jitter=0.0)


class Virtual:
    """Caches of several processes over one store in memory, with a clock to turn."""

    def __init__(self, **settings):
        self.bench = LocalBench()
        self.record = Record()
        self._settings = Settings(**settings)
        self.service = self.process()

    def process(self):
        service, channels = CacheService(self.bench.store, self._settings, self.record), Channels()
        # Nobody tells one of them what the others do.
        channels.on_want = lambda: None
        service.open(channels)
        return service

    def family(self, declared=object, lifetime=BRIEF, name="family"):
        return self.service.family(name, declared, lifetime=lifetime)

    def advance(self, seconds):
        self.bench.time.advance(seconds)


class Source:
    """What is loaded from: gives what it is told to, after so many seconds, and counts."""

    def __init__(self, value=1, *, takes=0.0):
        self.value = value
        self.takes = takes
        self.loads = 0
        self.asked = []

    async def __call__(self, asked):
        self.loads += 1
        self.asked.append(asked)
        if self.takes:
            await asyncio.sleep(self.takes)
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value
