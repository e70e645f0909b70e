"""What a store can be asked: one class per operation, its form for Redis and its local effect side by side."""

from polly_state.commands.base import Command, Effect, Outdated, Script, Stamped, companion, load_scripts, stamp_of
from polly_state.commands.counters import MAX_COUNT, Add, Count
from polly_state.commands.deliveries import Acknowledge, Handed, HandedOut, TakeMessages
from polly_state.commands.fields import ClearFields, GetField, GetFields, PatchFields, ToggleField
from polly_state.commands.logs import Append, ClearLog, Item, Latest
from polly_state.commands.members import PutMember, entered
from polly_state.commands.queues import Enqueue, Queued
from polly_state.commands.registers import SetRegister, Touch
from polly_state.commands.sets import ClearSet, Contains, Members, PatchSet
from polly_state.commands.swaps import SwapFields
from polly_state.commands.takes import TakeValue
from polly_state.commands.values import Condition, Delete, Expire, Get, Persist, Set, TimeToLive

__all__ = [
    "MAX_COUNT",
    "Acknowledge",
    "Add",
    "Append",
    "ClearFields",
    "ClearLog",
    "ClearSet",
    "Command",
    "Condition",
    "Contains",
    "Count",
    "Delete",
    "Effect",
    "Enqueue",
    "PutMember",
    "Expire",
    "Get",
    "GetField",
    "GetFields",
    "Handed",
    "HandedOut",
    "Item",
    "Latest",
    "Members",
    "Outdated",
    "PatchFields",
    "PatchSet",
    "Persist",
    "Queued",
    "Script",
    "Set",
    "SetRegister",
    "Stamped",
    "SwapFields",
    "TakeValue",
    "TakeMessages",
    "TimeToLive",
    "ToggleField",
    "Touch",
    "companion",
    "entered",
    "load_scripts",
    "stamp_of",
]
