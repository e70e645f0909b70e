"""Parts: how fields, members and entries, each with a stamp of its own, are outdated and cleared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from polly_state.commands.base import Outdated, Stamped
from polly_state.commands.endings import TTL, noted_ending
from polly_state.entries import Kind

if TYPE_CHECKING:
    from polly_state.keyspace import Entry, Keyspace

__all__ = ["ALL", "check_stamps", "clear", "part_stamps"]

ALL: Final = "~all"
"""The slot of when all parts were cleared."""


def part_stamps(entry: Entry | None, kind: Kind) -> dict[str, str]:
    """When each part was written, or dropped, as far as that is known."""
    prefix = kind.prefix
    if entry is None or prefix is None:
        return {}
    return {slot.removeprefix(prefix): stamp for slot, stamp in entry.stamps.items() if slot.startswith(prefix)}


def check_stamps(entry: Entry | None, slots: Iterable[str], stamp: str) -> None:
    """Raises `Outdated` if any of *slots*, or the whole, was written later."""
    if entry is None:
        return
    newest = max(entry.stamps.get(slot, "") for slot in (ALL, *slots))
    if newest > stamp:
        raise Outdated(newest)


def clear(keyspace: Keyspace, command: Stamped[Any], kind: Kind, stamps: Mapping[str, str]) -> None:
    """Drop the parts that are older than *command*, given when each was written.

    In whatever order such commands come, the same is left: so it is done also if newer parts make it `Outdated`.
    """
    parts = keyspace.fields(command.key, kind)
    entry = keyspace.entry(command.key)
    cleared = "" if entry is None else entry.stamps.get(ALL, "")
    newest = max(cleared, *stamps.values(), "")
    if newest < command.stamp:
        command.learn(keyspace, True)
        return
    if cleared <= command.stamp:
        older = {part: None for part in parts if stamps.get(part, "") < command.stamp}
        keyspace.patch(command.key, older, kind=kind, stamps={ALL: command.stamp})
        noted = noted_ending(entry)
        if entry is not None and noted is not None and noted[0] < command.stamp:
            # What is left is newer than what has settled that end.
            del entry.stamps[TTL]
            keyspace.expire(command.key, None)
    if newest > command.stamp:
        raise Outdated(newest)
