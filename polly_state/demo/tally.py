"""The tally: what the bot was told, kept apart from the state and compared with Redis at the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polly_state.demo.handles import GuildSettings, Handles

__all__ = ["Switch", "Tally", "Verdict"]

Switch: TypeAlias = tuple[int, str]
"""A user and a bot."""


class Verdict(NamedTuple):
    """What is in Redis, against what was acknowledged."""

    plays: int
    lost: int
    doubled: int
    toggles: int
    switches: int
    wrong_switches: int
    guilds: int
    wrong_guilds: int

    @property
    def holds(self) -> bool:
        """Whether everything acknowledged is there, once."""
        return not any((self.lost, self.doubled, self.wrong_switches, self.wrong_guilds))


class Tally:
    """Counts acknowledgements in plain dictionaries.

    A call that failed may have happened or not; where that is so, both outcomes are right.
    """

    def __init__(self, switches: dict[Switch, bool], guilds: Iterable[int]) -> None:
        self.switches = switches
        self.plays: Counter[int] = Counter(dict.fromkeys(guilds, 0))
        self.settings: dict[int, GuildSettings] = {}
        self.unsure_plays: Counter[int] = Counter()
        self.unsure: set[Switch | int] = set()
        self._toggles = 0

    def toggled(self, switch: Switch) -> None:
        """One toggle was acknowledged."""
        self.switches[switch] = not self.switches[switch]
        self._toggles += 1

    async def compare(self, handles: Handles) -> Verdict:
        """Ask for everything."""
        lost = doubled = 0
        for guild, plays in self.plays.items():
            found = await handles.plays.value(guild)
            lost += max(0, plays - found)
            doubled += max(0, found - plays - self.unsure_plays[guild])
        held = await asyncio.gather(*(handles.preferences.is_enabled(*switch) for switch in self.switches))
        wrong_switches = [
            switch
            for (switch, enabled), shown in zip(self.switches.items(), held, strict=True)
            if shown is not enabled and switch not in self.unsure
        ]
        wrong_guilds = [
            guild
            for guild, settings in self.settings.items()
            if await handles.guilds.get(guild) != settings and guild not in self.unsure
        ]
        return Verdict(
            plays=self.plays.total(),
            lost=lost,
            doubled=doubled,
            toggles=self._toggles,
            switches=len(self.switches),
            wrong_switches=len(wrong_switches),
            guilds=len(self.settings),
            wrong_guilds=len(wrong_guilds),
        )
