"""The traffic: what fifty members of a few guilds make a small bot do."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from polly_state.demo.handles import GuildSettings, Handles, Repeat
from polly_state.demo.meter import AWAY, Meter
from polly_state.demo.tally import Switch, Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from polly_state import PollyState
    from polly_state.services import Imported

__all__ = ["MEMBERS", "Traffic"]

MEMBERS: Final = 50
GUILDS: Final = 20
USERS: Final = 150
PAUSE: Final = 0.02
PREFERENCES: Final = Path(__file__).with_name("voice_preferences.json")
BOTS: Final = ("MyBot", "namespace:bot:v1")


class Traffic:
    """A bot whose every call is timed, and every acknowledgement tallied."""

    def __init__(self, state: PollyState, meter: Meter) -> None:
        self._handles = Handles(state)
        self._meter = meter
        self._tally = Tally({}, range(GUILDS))
        self._stopped = False

    async def prepare(self) -> tuple[Imported, Tally]:
        """Import the preferences, and look at everything once, as bots do when they start."""
        handles = self._handles
        imported = await handles.preferences.import_file(PREFERENCES)
        users = (99999, 123456, *range(1000, 1000 + USERS))
        found = await asyncio.gather(*map(handles.preferences.all, users))
        for user, switches in zip(users, found, strict=True):
            for bot in {*BOTS, *switches}:
                self._tally.switches[user, bot] = switches.get(bot, False)
        for guild in range(GUILDS):
            self._tally.settings[guild] = GuildSettings()
            await handles.guilds.set(guild, GuildSettings())
            await handles.plays.value(guild)
        return imported, self._tally

    async def serve(self, member: int) -> None:
        """Do what one member asks for, one thing after the other, until `stop`."""
        dice = random.Random(member)
        switches = list(self._tally.switches)
        deeds: list[Callable[[], Awaitable[None]]] = [
            lambda: self._speak(dice.choice(switches)),
            lambda: self._look(dice.choice(switches)),
            lambda: self._toggle(dice.choice(switches)),
            lambda: self._play(dice.randrange(GUILDS)),
            lambda: self._tune(member % GUILDS, dice, admin=member < GUILDS),
        ]
        while not self._stopped:
            await dice.choices(deeds, (4, 3, 1, 2, 2))[0]()
            await asyncio.sleep(PAUSE * dice.uniform(0.5, 1.5))

    def stop(self) -> None:
        """Let every member finish what they are at, and no more."""
        self._stopped = True

    async def _speak(self, switch: Switch) -> None:
        with suppress(*AWAY):
            await self._meter.time(self._handles.preferences.is_enabled(*switch))

    async def _look(self, switch: Switch) -> None:
        await self._meter.time(self._handles.preferences.read(*switch))

    async def _toggle(self, switch: Switch) -> None:
        try:
            await self._meter.time(self._handles.preferences.toggle(*switch))
        except AWAY:
            self._tally.unsure.add(switch)
        else:
            self._tally.toggled(switch)

    async def _play(self, guild: int) -> None:
        try:
            await self._meter.time(self._handles.plays.add(guild))
        except AWAY:
            self._tally.unsure_plays[guild] += 1
        else:
            self._tally.plays[guild] += 1

    async def _tune(self, guild: int, dice: random.Random, *, admin: bool) -> None:
        with suppress(*AWAY):
            found = await self._meter.time(self._handles.guilds.get(guild))
            # Only one member writes to each guild, so that the last acknowledged write is known.
            if admin and found is not None:
                tuned = replace(found, volume=dice.randrange(101), repeat=dice.choice(list(Repeat)))
                await self._write(guild, tuned)

    async def _write(self, guild: int, settings: GuildSettings) -> None:
        try:
            await self._meter.time(self._handles.guilds.set(guild, settings))
        except AWAY:
            self._tally.unsure.add(guild)
        else:
            self._tally.settings[guild] = settings
            self._tally.unsure.discard(guild)
