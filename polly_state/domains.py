"""Domains: every service of a `PollyState`, made when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from polly_state.structures import Handles

if TYPE_CHECKING:
    from polly_state.services.bans import Bans
    from polly_state.services.conversations import Conversations
    from polly_state.services.guilds import Guilds
    from polly_state.services.history import History
    from polly_state.services.identities import Identities
    from polly_state.services.inboxes import Inboxes
    from polly_state.services.queue_sessions import QueueSessions, Snapshots
    from polly_state.services.room_sessions import Leasing, RoomSessions
    from polly_state.services.rooms import Rooms
    from polly_state.services.sessions import Sessions

__all__ = ["Domains"]


class Domains:
    """Who makes structures by name has these services as well."""

    @cached_property
    def bans(self: Handles) -> Bans:
        """See `Bans`."""
        from polly_state.services.bans import Bans

        return Bans(self)

    @cached_property
    def conversations(self: Handles) -> Conversations:
        """See `Conversations`."""
        from polly_state.services.conversations import Conversations

        return Conversations(self)

    @cached_property
    def guilds(self: Handles) -> Guilds:
        """See `Guilds`."""
        from polly_state.services.guilds import Guilds

        return Guilds(self)

    @cached_property
    def history(self: Handles) -> History:
        """See `History`."""
        from polly_state.services.history import History

        return History(self)

    @cached_property
    def identities(self: Handles) -> Identities:
        """See `Identities`."""
        from polly_state.services.identities import Identities

        return Identities(self)

    @cached_property
    def inboxes(self: Handles) -> Inboxes:
        """See `Inboxes`."""
        from polly_state.services.inboxes import Inboxes

        return Inboxes(self)

    @cached_property
    def queue_sessions(self: Handles) -> QueueSessions:
        """See `QueueSessions`."""
        from polly_state.services.queue_sessions import QueueSessions

        return QueueSessions(self)

    @cached_property
    def room_sessions(self: Leasing) -> RoomSessions:
        """See `RoomSessions`."""
        from polly_state.services.room_sessions import RoomSessions

        return RoomSessions(self)

    @cached_property
    def rooms(self: Handles) -> Rooms:
        """See `Rooms`."""
        from polly_state.services.rooms import Rooms

        return Rooms(self)

    @cached_property
    def sessions(self: Handles) -> Sessions:
        """See `Sessions`."""
        from polly_state.services.sessions import Sessions

        return Sessions(self)

    @cached_property
    def snapshots(self: Handles) -> Snapshots:
        """See `Snapshots`."""
        from polly_state.services.queue_sessions import Snapshots

        return Snapshots(self)
