"""The subscriber: the one connection on which Redis tells this process what others do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Final

from polly_state.connection import ConnectionManager, ReplyError
from polly_state.connection.link import Link
from polly_state.connection.packing import pack
from polly_state.errors import CommandRejected, DeadlineExceeded, StateError
from polly_state.retry import until_done
from polly_state.store.channels import Channels, Topic
from polly_state.wire import Reply

if TYPE_CHECKING:
    from polly_state.cluster import Cluster

__all__ = ["Subscriber"]

#: A silent server is noticed within the longest of these and an answer's time, which together are below 1.5 seconds.
BEAT: Final = (0.8, 1.0)
ANSWER: Final = 0.45
LINGER: Final = 30.0
PAUSE, LONGEST_PAUSE = 0.02, 0.5
REFUSED: Final = 30.0
#: New topics in one round: more than a link takes at once would be refused, each time.
AT_ONCE: Final = 250
PING: Final = pack(("PING",))
TRACK: Final = pack(("CLIENT", "TRACKING", "ON"))


class Subscriber:
    """Hears of all topics of `Channels` over one link, and begins again after each outage.

    It has no link until somebody listens, and none any more when nobody has for half a minute. Channels are subscribed
    to; keys are read, and Redis tells, once, when what was read has changed (CLIENT TRACKING). All goes out in rounds:
    whatever is new, and a question whose answer shows that the server lives.
    """

    def __init__(
        self,
        connection: ConnectionManager | Cluster,
        channels: Channels,
        *,
        beat: tuple[float, float] = BEAT,
        answer: float = ANSWER,
        linger: float = LINGER,
    ) -> None:
        self._connection = connection
        #: The server that is listened to.
        self._node: ConnectionManager | None = None
        self._channels = channels
        self._beat = beat
        self._answer = max(answer, connection.deadline)
        self._linger = linger
        self._changed = asyncio.Event()
        self._asked: set[Topic] = set()
        self._failures = 0
        self._tracking: bool | None = None
        self._task: asyncio.Task[None] | None = None
        channels.on_want = self._want
        if channels.topics:
            self._want()

    async def aclose(self) -> None:
        """Hear no more."""
        self._channels.on_want = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _want(self) -> None:
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="polly_state subscriber")

    async def _run(self) -> None:
        while self._channels.topics:
            await until_done(self._follow, expected=(StateError,), delay=self._pause)

    def _pause(self, _: int) -> float:
        self._failures += 1
        return random.uniform(0.5, 1.0) * min(PAUSE * 2.0**self._failures, LONGEST_PAUSE)

    async def _follow(self) -> None:
        away = True
        self._asked, self._tracking = set(), None
        try:
            connection = self._connection
            self._node = connection if isinstance(connection, ConnectionManager) else connection.any_node()
            async with self._node.dedicated.lease(None) as link:
                link.on_push, link.on_end = self._pushed, self._changed.set
                await self._listen(link)
                away = False
        except CommandRejected:
            self._channels.silent(away=True)
            # To ask again and again would not help: whoever waits looks now and then.
            await asyncio.sleep(REFUSED)
            raise
        finally:
            self._channels.silent(away=away)

    async def _listen(self, link: Link) -> None:
        while True:
            self._changed.clear()
            wanted = self._channels.topics
            await self._round(link, wanted)
            self._failures = 0
            try:
                async with asyncio.timeout(random.uniform(*self._beat) if wanted else self._linger):
                    await self._changed.wait()
            except TimeoutError:
                if not wanted and not self._channels.topics:
                    return

    async def _round(self, link: Link, wanted: set[Topic]) -> None:
        """Ask for what is new, drop what nobody wants any more, and see that the server answers."""
        waiting, old = wanted - self._asked, self._asked - wanted
        new = set(islice(waiting, AT_ONCE))
        if len(waiting) > len(new):
            self._changed.set()
        self._asked = self._asked - old | new
        for topic in old:
            self._channels.missed(topic)
        keys = [topic for topic in new if topic.key]
        answers = [] if self._tracking or not keys else [link.submit(TRACK)]
        answers += [link.submit(pack(("EXISTS", topic.name))) for topic in keys]
        channels = _words("UNSUBSCRIBE", old) + _words("SUBSCRIBE", new)
        # In RESP3 a subscription is answered by a push alone, so that the reply that is awaited is the PING's.
        answers.append(link.submit(channels + PING))
        try:
            # Unlike a timeout this looks whether the answers are there before it says that they are late.
            _, late = await asyncio.wait(answers, timeout=self._answer)
            if late:
                raise DeadlineExceeded(f"no answer on the subscription within {self._answer:g} s")
            *found, answer = [each.result() for each in answers]
        finally:
            for each in answers:
                _ = each.cancel() or each.cancelled() or each.exception()
        if isinstance(answer, ReplyError):
            assert self._node is not None  # noqa: S101
            raise self._node.refused(answer)
        self._note(keys, found)

    def _note(self, keys: list[Topic], found: list[Reply]) -> None:
        if len(found) > len(keys):
            self._tracking = not isinstance(found.pop(0), ReplyError)
        for topic, answer in zip(keys, found, strict=True):
            if not self._tracking or isinstance(answer, ReplyError):
                # It may have been heard before: whoever waits for it has to look by themselves now.
                self._channels.stir(topic.name)
            elif topic in self._asked:
                # One that has changed meanwhile is asked for again.
                self._channels.heard(topic)

    def _pushed(self, message: list[Reply]) -> None:
        kind, subject = message[0], message[1]
        if kind == b"message":
            self._channels.tell(_topic(subject), message[2], here=False)
        elif kind == b"subscribe":
            self._channels.heard(_topic(subject))
        elif kind == b"invalidate":
            changed = {topic for topic in self._asked if topic.key} if subject is None else set(map(_key, subject))
            for topic in changed & self._asked:
                self._channels.missed(topic)
            self._asked -= changed
            self._changed.set()


def _words(word: str, topics: Iterable[Topic]) -> bytes:
    names = [topic.name for topic in topics if not topic.key]
    return pack((word, *names)) if names else b""


def _topic(name: bytes) -> Topic:
    return Topic(name.decode(errors="replace"))


def _key(name: bytes) -> Topic:
    return Topic(name.decode(errors="replace"), key=True)
