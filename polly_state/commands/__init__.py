"""What a store can be asked: one class per operation, its form for Redis and its local effect side by side."""

from polly_state.commands.base import (
    Command,
    Effect,
    Outdated,
    Script,
    Stamped,
    companion,
    ended,
    load_scripts,
    outlived,
    stamp_of,
)
from polly_state.commands.counters import MAX_COUNT, Add, Count
from polly_state.commands.entries import (
    ClaimLoad,
    DropEntry,
    EndLoad,
    LoadClaim,
    PutEntry,
    RenewLoad,
    loads_channel,
)
from polly_state.commands.fields import ClearFields, GetField, GetFields, PatchFields, ToggleField
from polly_state.commands.logs import Append, ClearLog, Item, Latest
from polly_state.commands.queues import Enqueue, Queued
from polly_state.commands.registers import SetRegister, Touch
from polly_state.commands.sets import ClearSet, Contains, Members, PatchSet
from polly_state.commands.values import Condition, Delete, Expire, Get, Persist, Set, TimeToLive

__all__ = [
    "MAX_COUNT",
    "Add",
    "Append",
    "ClaimLoad",
    "ClearFields",
    "ClearLog",
    "ClearSet",
    "Command",
    "Condition",
    "Contains",
    "Count",
    "Delete",
    "DropEntry",
    "Effect",
    "EndLoad",
    "Enqueue",
    "Expire",
    "Get",
    "GetField",
    "GetFields",
    "Item",
    "Latest",
    "LoadClaim",
    "Members",
    "Outdated",
    "PatchFields",
    "PatchSet",
    "Persist",
    "PutEntry",
    "Queued",
    "RenewLoad",
    "Script",
    "Set",
    "SetRegister",
    "Stamped",
    "TimeToLive",
    "ToggleField",
    "Touch",
    "companion",
    "ended",
    "load_scripts",
    "loads_channel",
    "outlived",
    "stamp_of",
]
