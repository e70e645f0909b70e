"""Tags: the marker of each, a durable register that is read for whoever asks in one turn of the event loop."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from polly_state.cache.reading import ABSENT, UNKNOWN
from polly_state.commands import Get
from polly_state.errors import CorruptValue, StateError, StateUnavailable
from polly_state.store import Origin, Store
from polly_state.store.channels import CLOSED
from polly_state.structures import Family

if TYPE_CHECKING:
    from polly_state.near import Near

__all__ = ["Tags", "check_tag"]

MAX_BYTES: Final = 4096
MAX_REMEMBERED: Final = 10_000


class Tags:
    """The markers of the tags of one namespace."""

    def __init__(self, store: Store, namespace: str) -> None:
        self.key = Family(namespace, "cache-tags").key
        self.near: Near | None = None
        self._store = store
        self._waiting: dict[str, list[asyncio.Future[bytes]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # What was last seen, for an outage in which nothing else is known.
        self._last: OrderedDict[str, bytes] = OrderedDict()

    async def marks(self, tags: list[str]) -> bytes:
        """The marks of *tags*, to follow those of a family, read after this call and not before."""
        found = await asyncio.gather(*(self._ask(self.key(tag)) for tag in tags))
        named = zip((quote(tag, safe="").encode() for tag in tags), found, strict=True)
        return b"".join(b" %b=%b" % pair for pair in named)

    def named(self, marks: bytes) -> list[str]:
        """The tags in the *marks* of an entry. Raises `CorruptValue` for what no entry carries."""
        try:
            tags = [unquote(part.rpartition("=")[0]) for part in marks.decode("ascii").split(" ")[2:]]
            for tag in tags:
                self.key(tag)
        except ValueError:
            # The cause would quote them.
            raise CorruptValue("what is stored carries no marks of a cache; something else writes here") from None
        return tags

    def remember(self, key: str, mark: bytes) -> None:
        """The marker at *key* is this one now."""
        self._last[key] = mark
        self._last.move_to_end(key)
        if len(self._last) > MAX_REMEMBERED:
            self._last.popitem(last=False)

    async def aclose(self) -> None:
        """End what is being read."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Of a task that was cancelled before its first step nothing has run.
        for waiting in self._waiting.values():
            _fail(waiting, RuntimeError(CLOSED))
        self._waiting.clear()

    def _ask(self, key: str) -> asyncio.Future[bytes]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        waiting = self._waiting.setdefault(key, [])
        waiting.append(future)
        if len(waiting) == 1:
            task = loop.create_task(self._answer(key), name="polly_state markers")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return future

    async def _answer(self, key: str) -> None:
        # Who asks from here on asks for something newer.
        waiting = self._waiting.pop(key)
        try:
            mark = await self._read(key)
        except (StateError, RuntimeError) as error:
            _fail(waiting, error)
        except asyncio.CancelledError:
            # Nobody has cancelled those who wait.
            _fail(waiting, RuntimeError(CLOSED))
            raise
        else:
            for future in waiting:
                if not future.done():
                    future.set_result(mark)

    async def _read(self, key: str) -> bytes:
        ticket = None if self.near is None else self.near.begin(key)
        try:
            answer = await self._store.execute(Get(key))
        except StateUnavailable:
            return self._last.get(key, UNKNOWN)
        mark = ABSENT if answer.value is None else answer.value
        if self.near is not None and answer.origin is Origin.REDIS:
            self.near.fill(key, ticket, mark, len(mark), None)
        self.remember(key, mark)
        return mark


def check_tag(tag: object) -> None:
    """Raises `TypeError` or `ValueError` for what can be no tag."""
    if not isinstance(tag, str):
        raise TypeError(f"a tag is a text, not {type(tag).__name__}")
    try:
        size = len(tag.encode())
    except UnicodeEncodeError as error:
        raise ValueError("a tag must be encodable as UTF-8") from error
    if not 0 < size <= MAX_BYTES:
        raise ValueError(f"a tag must have 1 to {MAX_BYTES} bytes")


def _fail(waiting: list[asyncio.Future[bytes]], error: Exception) -> None:
    for future in waiting:
        if not future.done():
            future.set_exception(error)
            # Perhaps nobody waits any more.
            future.exception()
