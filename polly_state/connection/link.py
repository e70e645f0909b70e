"""The link: one connection that the commands of all tasks share.

A call appends its command and gets a future; what comes together in one turn of the event loop leaves in one write.
Replies are handed out in the order of the commands. A caller who is cancelled lets go of a future and of nothing else.
The deadline is watched by one timer for the oldest batch, not by a timer for each call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final, cast

import hiredis

from polly_state.connection.batches import Batches
from polly_state.connection.listener import LinkListener
from polly_state.connection.replies import LinkLost, ReplyError
from polly_state.errors import DeadlineExceeded, Overloaded
from polly_state.settings import Bounds
from polly_state.wire import Reply

__all__ = ["Link"]

#: So many commands are written at once when the server has nothing to do.
EARLY: Final = 16
#: A peer is silent when nothing has come from it for this part of a deadline.
SILENCE: Final = 0.9


class Link(asyncio.Protocol):
    """Takes over a transport on which redis-py has done the handshake, and shares it among all callers."""

    def __init__(self, listener: LinkListener, bounds: Bounds, deadline: float | None) -> None:
        loop = asyncio.get_running_loop()
        self.generation = 0
        self.commands = 0
        """How many were submitted so far."""
        self.on_push: Callable[[list[Reply]], None] = lambda _: None
        self.on_end: Callable[[], None] = lambda: None
        self._listener = listener
        self._deadline = deadline
        self._max_commands = bounds.in_flight_commands
        self._max_bytes = bounds.in_flight_bytes
        self._loop = loop
        self._create_future: Callable[[], asyncio.Future[Reply]] = loop.create_future
        self._more: Final = object()
        self._reader = hiredis.Reader(replyError=ReplyError, notEnoughData=self._more)
        self._pending: deque[asyncio.Future[Reply]] = deque()
        self._batches = Batches()
        self._buffer: list[bytes] = []
        self._unbatched = 0
        self._answered = self._written = self._flushed = 0
        self._heard_at = loop.time()
        self._flushing = False
        self._writable = True
        self._lone = True
        self._timer: asyncio.TimerHandle | None = None
        # An abandoned stream closes its transport, so it is kept.
        self._writer: asyncio.StreamWriter | None = None
        self._transport: asyncio.Transport | None = None
        self._previous: asyncio.BaseProtocol | None = None
        self._reason: str | None = None

    def take_over(self, writer: asyncio.StreamWriter) -> None:
        """Become the protocol of the transport under *writer*; the previous one still learns of its end."""
        transport = cast("asyncio.Transport", writer.transport)
        self._writer = writer
        self._previous = transport.get_protocol()
        self._transport = transport
        transport.set_protocol(self)

    @property
    def alive(self) -> bool:
        """Whether commands can be submitted."""
        return self._reason is None

    @property
    def in_flight(self) -> int:
        """Commands without a reply."""
        return len(self._pending)

    def submit(self, packed: bytes) -> asyncio.Future[Reply]:
        """Send one packed command; the future gives its reply, which may be a `ReplyError`.

        Raises:
            Overloaded: Too much is in flight; nothing was sent.
            LinkLost: The link has ended; nothing was sent. The future may also end with it, or `DeadlineExceeded`.
        """
        pending, batches = self._pending, self._batches
        size = len(packed)
        if self._reason is not None or len(pending) >= self._max_commands or batches.size + size > self._max_bytes:
            self._check_room(size)
        future = self._create_future()
        batches.size += size
        self._unbatched += size
        self.commands += 1
        # A lone caller need not wait for the loop's next turn.
        alone = self._lone and not self._flushing and not pending and self._writable
        pending.append(future)
        if alone:
            self._close_batch()
            self._written = self.commands
            self._transport.write(packed)  # type: ignore[union-attr]
            return future
        self._buffer.append(packed)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        elif len(self._buffer) == EARLY and self._answered == self._written and self._writable:
            # The server has nothing to do: it starts on these while the others are still coming.
            self._close_batch()
            self._write()
        return future

    def close(self, reason: str) -> tuple[int, int]:
        """End the link; what is pending fails. Returns how many were unsent, and how many are unknown."""
        if self._reason is not None:
            return 0, 0
        self._reason = reason
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self.on_end()
        return self._fail_pending(reason)

    def data_received(self, data: bytes) -> None:
        """Hand out every reply that *data* completes."""
        reader, pending, more = self._reader, self._pending, self._more
        push, count = hiredis.PushNotification, 0
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not more:
                if reply.__class__ is push:
                    self.on_push(reply)
                    continue
                future = pending.popleft()
                count += 1
                if not future.done():
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            # Bytes that are no reply, or a reply that nobody asked for: from here on none could be trusted.
            self._end("the peer does not keep to the protocol")
            return
        self._answered += count
        self._heard_at = self._loop.time()
        self._listener.answered(self, count)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on, and fail what is pending."""
        if self._previous is not None:
            self._previous.connection_lost(None)
        self._end("closed by the peer" if exc is None else type(exc).__name__)

    def pause_writing(self) -> None:
        """The peer takes no more: what comes now stays here, and so stays certain to be unsent."""
        self._writable = False

    def resume_writing(self) -> None:
        """The peer takes bytes again."""
        self._writable = True
        self._write()

    def _check_room(self, size: int) -> None:
        if self._reason is not None:
            raise LinkLost(self._reason, maybe_applied=False, deadline=self._due())
        self._batches.answered(self._answered)
        if len(self._pending) >= self._max_commands or self._batches.size + size > self._max_bytes:
            raise Overloaded(f"{len(self._pending)} commands ({self._batches.size} bytes) are in flight already")

    def _end(self, reason: str) -> None:
        if self._reason is None:
            unsent, unknown = self.close(reason)
            self._listener.lost(self, reason, unsent, unknown)

    def _flush(self) -> None:
        self._flushing = False
        self._lone = self.commands - self._flushed == 1
        self._flushed = self.commands
        self._close_batch()
        if self._writable:
            self._write()

    def _write(self) -> None:
        if self._buffer and self._reason is None and self._transport is not None:
            buffer, self._buffer = self._buffer, []
            self._written = self.commands
            self._transport.write(b"".join(buffer))

    def _due(self) -> float:
        return float("inf") if self._deadline is None else self._loop.time() + self._deadline

    def _close_batch(self) -> None:
        due = self._due()
        self._batches.answered(self._answered)
        self._batches.add(self.commands, due, self._unbatched)
        self._unbatched = 0
        if self._timer is None and self._deadline is not None:
            self._timer = self._loop.call_at(due, self._sweep)

    def _sweep(self) -> None:
        now = self._loop.time()
        # By when it was due: a loop that comes late has not listened any longer.
        due, self._timer = now if self._timer is None else self._timer.when(), None
        self._batches.answered(self._answered)
        last = self._batches.overdue(now)
        if (next_deadline := self._batches.next_deadline) is not None:
            self._timer = self._loop.call_at(next_deadline, self._sweep)
        late = [future for future in islice(self._pending, max(0, last - self._answered)) if not future.done()]
        for future in late:
            future.set_exception(DeadlineExceeded("Redis did not answer within the deadline", maybe_applied=True))
        if late:
            # Replies to others, sent a moment earlier, may have come just after these had left.
            silent = due - self._heard_at > SILENCE * (self._deadline or 0.0)
            self._listener.overdue(self, len(late), silent=silent)

    def _fail_pending(self, reason: str) -> tuple[int, int]:
        unsent = len(self._buffer)
        unknown = len(self._pending) - unsent
        deadlines = self._batches.deadlines(self._answered)
        for number, future in enumerate(self._pending):
            if not future.done():
                deadline = deadlines.get(number, self._due())
                future.set_exception(LinkLost(reason, maybe_applied=number < unknown, deadline=deadline))
        self._pending.clear()
        self._buffer.clear()
        return unsent, unknown
