"""History: the tracks that a guild has heard."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, NamedTuple

from polly_state.store import Ack
from polly_state.structures import MAX_FIELD_NAME, Handles, Id

__all__ = ["History", "Ranked", "Track", "TrackMetadata"]

WEEK: Final = 7 * 86_400.0
MONTH: Final = 30 * 86_400.0
TRACKS: Final = 100
NAMES: Final = 2
"""A track is known by its id and by its URL."""


@dataclass(frozen=True)
class Track:
    """What was played."""

    id: str
    title: str
    author: str = ""
    url: str = ""
    duration: float | None = None
    """Seconds; None if it is not known."""
    played_by: str = ""
    autoplay: bool = False


@dataclass(frozen=True)
class TrackMetadata:
    """What is known of a track, wherever it is played."""

    artist: str
    genre: str = ""
    tags: tuple[str, ...] = ()
    views: int = 0


class Ranked(NamedTuple):
    """A title or an artist, and how often it was played."""

    name: str
    plays: int


class History:
    """The newest 100 tracks of each guild, for 7 days after the last one; `metadata` is kept for 30 days."""

    def __init__(self, handles: Handles) -> None:
        self._tracks = handles.log("history", Track, limit=TRACKS, ttl=WEEK)
        self._played = handles.members("history_played", bool, limit=NAMES * TRACKS, ttl=WEEK)
        self.metadata = handles.map("track_metadata", TrackMetadata, ttl=MONTH)

    async def add(self, guild_id: Id, track: Track) -> Ack:
        """Note that *track* is played now."""
        names = dict.fromkeys(_names(track.id, track.url), True)
        if not names:
            return await self._tracks.append(guild_id, track)
        ack, _ = await asyncio.gather(self._tracks.append(guild_id, track), self._played.put_many(guild_id, names))
        return ack

    async def latest(self, guild_id: Id) -> Track | None:
        """The track that was played last; None only if there is none."""
        return next(iter(await self._tracks.latest(guild_id, 1)), None)

    async def tracks(self, guild_id: Id, limit: int = 10) -> list[Track]:
        """The newest tracks, newest first."""
        return await self._tracks.latest(guild_id, limit)

    async def is_duplicate(self, guild_id: Id, *, id: str = "", url: str = "", window: float = 300.0) -> bool:
        """Whether a track of this id or URL was played in the last *window* seconds; costs the same at any length."""
        return bool(await self._played.within(guild_id, window, *_names(id, url)))

    async def top_tracks(self, guild_id: Id, limit: int = 10) -> list[Ranked]:
        """The titles that were played most among those kept."""
        plays = Counter(track.title for track in await self._tracks.latest(guild_id))
        return [Ranked(*each) for each in plays.most_common(limit)]

    async def top_artists(self, guild_id: Id, limit: int = 10) -> list[Ranked]:
        """The authors that were played most among the tracks kept."""
        plays = Counter(track.author for track in await self._tracks.latest(guild_id) if track.author)
        return [Ranked(*each) for each in plays.most_common(limit)]

    async def clear(self, guild_id: Id) -> Ack:
        """Forget every track of the guild."""
        return min(await asyncio.gather(self._tracks.clear(guild_id), self._played.clear(guild_id)))


def _names(id: str, url: str) -> list[str]:
    names = [f"{kind}:{text}" for kind, text in (("id", id), ("url", url)) if text]
    return [name if len(name) <= MAX_FIELD_NAME else blake2b(name.encode()).hexdigest() for name in names]
