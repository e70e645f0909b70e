"""Nia: heartbeats, identities and admin messages under their former names, with Redis, a directory or neither.

The names of ``redis_client`` and of the three ``redis_*_migration`` modules are all here. Where those gave None because
there was no Redis, so that files had to do, a directory (``POLLY_STATE_DIR``) will do as well. What could not be known
raises `StateUnavailable`: a process is not dead because Redis is.
"""

from __future__ import annotations

import inspect
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import cache
from typing import Final, TypeAlias

from polly_state.compat.bridge import Bridge
from polly_state.errors import StateError
from polly_state.services.inboxes import Letter
from polly_state.settings import Settings
from polly_state.state import PollyState
from polly_state.structures import Delivery, Values

__all__ = [
    "NiaClient",
    "check_redis_available",
    "get_admin_message_polling_loop",
    "get_heartbeat_reader",
    "get_heartbeat_sender",
    "get_identity_scanner",
    "get_identity_writer",
    "get_redis_client",
    "get_write_admin_message",
]

_log = logging.getLogger("polly_state")

Document: TypeAlias = dict[str, object]
Handler: TypeAlias = Callable[[Document], Awaitable[object] | object]

HEARTBEAT_TTL: Final = 30.0
DRAINED_AT_ONCE: Final = 100
_turn: Final = threading.Lock()


class NiaClient:
    """The former client, over a `PollyState` that it shares with the functions of this module.

    It can be used on any event loop and in any thread. Bots are told apart by process id or by room, as they like.
    """

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def ping(self) -> bool:
        """Whether Redis answers."""
        try:
            await self._bridge.run(PollyState.ping)
        except StateError:
            return False
        return True

    async def send_heartbeat(self, pid: int | str, room_url: str, participants: Sequence[str]) -> None:
        """Tell that a process is alive, for 30 seconds."""
        await self._bridge.run(lambda state: _beat(state, pid, room_url, participants))

    async def get_heartbeat(self, pid: int | str) -> Document | None:
        """The last heartbeat of a process; None only if there was none in the last 30 seconds."""
        return await self._bridge.run(lambda state: _heartbeats(state).get(str(pid)))

    async def write_identity(self, room_url: str, participant_id: str, data: Mapping[str, object]) -> None:
        """Keep what is known of a participant for 24 hours."""
        await self._bridge.run(lambda state: _introduce(state, room_url, participant_id, data))

    async def read_identity(self, room_url: str, participant_id: str) -> Document | None:
        """What is known of a participant; None only if nothing is."""
        return await self._bridge.run(lambda state: state.identities.read(room_url, participant_id))

    async def scan_identities(self, room_url: str) -> list[Document]:
        """Every participant of just this room, without a scan."""
        return list((await self._bridge.run(lambda state: state.identities.all(room_url))).values())

    async def cleanup_expired_identities(self, room_url: str) -> int:
        """Drop what has ended; how many that were."""
        return await self._bridge.run(lambda state: state.identities.remove_stale(room_url))

    async def send_admin_message(self, bot_pid: int | str, message: str) -> None:
        """Put a message into the inbox of a bot, for an hour."""
        await self._bridge.run(lambda state: _tell(state, bot_pid, message))

    async def get_admin_messages(self, bot_pid: int | str) -> list[Document]:
        """Take what is in the inbox of a bot, oldest first; what a lost connection keeps back comes again later."""
        return await self._bridge.run(lambda state: _drain(state, bot_pid))

    async def close(self) -> None:
        """Nothing: what all share ends with the process."""


async def get_redis_client() -> NiaClient:
    """The client of this process, as the environment says; raises `ConfigurationError`, naming the variable."""
    return NiaClient(_bridge())


async def check_redis_available() -> bool:
    """Whether Redis answers."""
    return await NiaClient(_bridge()).ping()


def get_heartbeat_sender() -> Callable[[int | str, str, Sequence[str]], None] | None:
    """``sender(pid, room_url, participants)``, which never waits on an event loop; None if nobody would see it."""
    bridge = _shared()
    if bridge is None:
        return None
    return lambda pid, room_url, participants: bridge.post(lambda state: _beat(state, pid, room_url, participants))


def get_heartbeat_reader() -> Callable[[int | str], Document | None] | None:
    """``reader(pid)``, which blocks until it knows; None if there is nothing that processes share."""
    bridge = _shared()
    return None if bridge is None else lambda pid: bridge.wait(lambda state: _heartbeats(state).get(str(pid)))


def get_identity_writer() -> Callable[[str, str, Mapping[str, object]], None] | None:
    """``writer(room_url, participant_id, data)``, which never waits on an event loop; None as above."""
    bridge = _shared()
    if bridge is None:
        return None
    return lambda room_url, participant_id, data: bridge.post(
        lambda state: _introduce(state, room_url, participant_id, data)
    )


def get_identity_scanner() -> Callable[[str], list[Document]] | None:
    """``scanner(room_url)``, which blocks until it knows; None as above."""
    bridge = _shared()
    if bridge is None:
        return None
    return lambda room_url: list(bridge.wait(lambda state: state.identities.all(room_url)).values())


def get_write_admin_message() -> Callable[[int | str, str], None] | None:
    """``write(bot_pid, message)``, which never waits on an event loop; None as above."""
    bridge = _shared()
    return None if bridge is None else lambda pid, message: bridge.post(lambda state: _tell(state, pid, message))


def get_admin_message_polling_loop() -> Callable[[int | str, Handler], Awaitable[None]] | None:
    """``await loop(bot_pid, handler)``, which polls nothing: each message wakes it; None as above.

    A message for which the handler raises, or is cancelled, comes again after 30 seconds, 5 times at most.
    """
    bridge = _shared()
    if bridge is None:
        return None

    async def follow(bot_pid: int | str, handler: Handler) -> None:
        while True:
            letter = await bridge.run(lambda state: _next(state, bot_pid))
            try:
                handled = handler(_document(letter))
                if inspect.isawaitable(handled):
                    await handled
            except Exception as error:  # noqa: BLE001 - a handler's error is no reason to hear no more
                _log.warning("a handler of admin messages raised %s; the message comes again", type(error).__name__)
            else:
                await bridge.run(lambda _, done=letter.ack: done())  # type: ignore[misc]

    return follow


def _bridge() -> Bridge:
    with _turn:
        return _made(os.getpid())


@cache
def _made(pid: int) -> Bridge:  # noqa: ARG001 - threads do not survive a fork: the child gets one of its own
    return Bridge(Settings.from_env(os.environ))


def _shared() -> Bridge | None:
    bridge = _bridge()
    return None if bridge.settings.embedded and bridge.settings.directory is None else bridge


def _heartbeats(state: PollyState) -> Values[Document]:
    return state.map("nia_heartbeats", dict, ttl=HEARTBEAT_TTL)


async def _beat(state: PollyState, pid: int | str, room_url: str, participants: Sequence[str]) -> None:
    beat: Document = {"pid": pid, "room_url": room_url, "participants": [*participants], "timestamp": _now()}
    await _heartbeats(state).set(str(pid), beat)


async def _introduce(state: PollyState, room_url: str, participant_id: str, data: Mapping[str, object]) -> None:
    known = {**data, "participant_id": participant_id, "room_url": room_url, "timestamp": _now()}
    await state.identities.write(room_url, participant_id, known)


async def _tell(state: PollyState, bot_pid: int | str, message: str) -> None:
    content = {"type": "admin_message", "bot_pid": bot_pid, "message": message, "timestamp": _now()}
    await state.inboxes.send(_inbox(bot_pid), content)


async def _drain(state: PollyState, bot_pid: int | str) -> list[Document]:
    letters = await state.inboxes.take(_inbox(bot_pid), DRAINED_AT_ONCE)
    for letter in letters:
        await letter.ack()
    return [_document(letter) for letter in letters]


async def _next(state: PollyState, bot_pid: int | str) -> Delivery[Letter]:
    async with aclosing(state.inboxes.listen(_inbox(bot_pid))) as letters:
        return await anext(letters)


def _document(letter: Delivery[Letter]) -> Document:
    content = letter.value.content
    return {**(content if isinstance(content, dict) else {"message": content}), "id": letter.id}


def _inbox(bot_pid: int | str) -> str:
    return f"admin:{bot_pid}"


def _now() -> str:
    return datetime.now(UTC).isoformat()
