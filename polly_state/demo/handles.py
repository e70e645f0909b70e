"""The handles: what the demo's bot keeps, and its types."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polly_state import PollyState

__all__ = ["GuildSettings", "Handles", "Repeat"]


class Repeat(Enum):
    """What comes after the last track."""

    OFF = "off"
    TRACK = "track"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class GuildSettings:
    """How one guild wants its music."""

    volume: int = 50
    repeat: Repeat = Repeat.OFF


class Handles:
    """The parts of a `PollyState` that the bot works with."""

    def __init__(self, state: PollyState) -> None:
        self.preferences = state.preferences
        self.guilds = state.map("guilds", GuildSettings)
        self.plays = state.counters("plays")
