"""Channels: who listens for what, in this process; a subscriber brings what other processes tell."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Final, NamedTuple

__all__ = ["CLOSED", "ELSEWHERE", "Channels", "Listener", "Topic", "Wake"]

CLOSED: Final = "this PollyState is closed"
ELSEWHERE: Final = "this PollyState belongs to another event loop or process; make one for each"


class Topic(NamedTuple):
    """What one can listen for: what is published on a channel or, with *key*, any change of what is at a key."""

    name: str
    key: bool = False


class Listener:
    """Who listens for one topic. What happens is told at once, on the event loop, so each of these must be quick."""

    def told(self, message: bytes, *, here: bool) -> None:
        """Somebody has published *message*: *here*, or Redis has brought it, also what was published here."""

    def stirred(self) -> None:
        """Something may have come, or changed, by whom nobody was told."""

    def heard(self) -> None:
        """Whatever others tell is heard from now on; what they told before may have been missed."""

    def lost(self) -> None:
        """What others tell is not heard from now on."""

    def ended(self) -> None:
        """All is closed: nothing comes any more."""


class Wake(Listener):
    """Wakes who waits instead of asking again and again. To be woken means to look, whatever the reason."""

    def __init__(self, channels: Channels, topic: Topic) -> None:
        self._channels = channels
        self._topic = topic
        self._event = asyncio.Event()

    def told(self, message: bytes, *, here: bool) -> None:  # noqa: ARG002 - it is looked at where it is
        """See `Listener`."""
        self._event.set()

    def stirred(self) -> None:
        """See `Listener`: who looks is told what there is, also that all is closed."""
        self._event.set()

    heard = lost = ended = stirred

    def clear(self) -> None:
        """Look now: what happens from here on wakes."""
        self._event.clear()

    async def wait(self, seconds: float | None = None, *, deaf: float) -> None:
        """Wait to be woken, for *seconds* at most, and for *deaf* seconds while others are not heard."""
        if not self._channels.hears(self._topic):
            deaf *= random.uniform(0.5, 1.0)
            seconds = deaf if seconds is None else min(seconds, deaf)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()


class Channels:
    """The listeners by topic, and what is heard of other processes at present."""

    def __init__(self) -> None:
        self.on_want: Callable[[], None] | None = None
        """Told that somebody listens for a topic that is not heard; None where there are no other processes."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """The event loop on which all is told; None for any."""
        self._listeners: dict[Topic, dict[Listener, None]] = {}
        self._heard: set[Topic] = set()
        self._away = self._closed = False

    @property
    def topics(self) -> set[Topic]:
        """What somebody listens for."""
        return set(self._listeners)

    def hears(self, topic: Topic) -> bool:
        """Whether whatever anybody tells of it is heard."""
        return self.on_want is None or topic in self._heard

    @contextmanager
    def listening(self, topic: Topic, listener: Listener) -> Generator[None]:
        """Let *listener* be told of *topic* for the length of the block.

        Raises `RuntimeError` once all is closed, on another event loop, or after a fork.
        """
        if self._closed:
            raise RuntimeError(CLOSED)
        if self.loop not in (None, asyncio.get_running_loop()):
            raise RuntimeError(ELSEWHERE)
        listeners = self._listeners.setdefault(topic, {})
        listeners[listener] = None
        if self._away:
            listener.lost()
        if not self.hears(topic) and self.on_want is not None:
            self.on_want()
        try:
            yield
        finally:
            del listeners[listener]
            if not listeners:
                del self._listeners[topic]

    @contextmanager
    def waking(self, topic: Topic) -> Generator[Wake]:
        """What wakes whenever something may have come of *topic*, for the length of the block."""
        wake = Wake(self, topic)
        with self.listening(topic, wake):
            yield wake

    def close(self) -> None:
        """Tell all who listen that nothing comes any more."""
        self._closed = True
        for listener in self._everybody():
            listener.ended()

    def tell(self, topic: Topic, message: bytes = b"", *, here: bool = True) -> None:
        """Tell those in this process who listen for *topic*."""
        for listener in self._listeners.get(topic, ()):
            listener.told(message, here=here)

    def stir(self, name: str) -> None:
        """What is at a key was changed by this process, without Redis."""
        for listener in self._listeners.get(Topic(name, key=True), ()):
            listener.stirred()

    def stir_all(self) -> None:
        """Anything may have changed."""
        for listener in self._everybody():
            listener.stirred()

    def heard(self, topic: Topic) -> None:
        """For the subscriber: *topic* is heard from now on."""
        self._heard.add(topic)
        self._away = False
        for listener in self._listeners.get(topic, ()):
            listener.heard()

    def missed(self, topic: Topic) -> None:
        """For the subscriber: *topic* is not heard at the moment, and soon will be."""
        self._heard.discard(topic)

    def silent(self, *, away: bool) -> None:
        """For the subscriber: nothing is heard from now on, and *away* if that is for want of a Redis."""
        self._heard.clear()
        away, self._away = away and not self._away, away
        if away:
            for listener in self._everybody():
                listener.lost()

    def _everybody(self) -> Iterator[Listener]:
        return chain.from_iterable(self._listeners.values())
