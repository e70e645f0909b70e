"""What a store can be asked: one class per operation, its form for Redis and its local effect side by side."""

from polly_state.commands.base import Command, Effect, Outdated, Script, Stamped, companion, load_scripts, stamp_of
from polly_state.commands.counters import MAX_COUNT, Add, Count
from polly_state.commands.fields import ClearFields, GetField, GetFields, PatchFields, ToggleField
from polly_state.commands.registers import SetRegister, Touch
from polly_state.commands.values import Condition, Delete, Expire, Get, Persist, Set, TimeToLive

__all__ = [
    "MAX_COUNT",
    "Add",
    "ClearFields",
    "Command",
    "Condition",
    "Count",
    "Delete",
    "Effect",
    "Expire",
    "Get",
    "GetField",
    "GetFields",
    "Outdated",
    "PatchFields",
    "Persist",
    "Script",
    "Set",
    "SetRegister",
    "Stamped",
    "TimeToLive",
    "ToggleField",
    "Touch",
    "companion",
    "load_scripts",
    "stamp_of",
]
