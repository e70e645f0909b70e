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
from polly_state.commands.beats import Beat, Heard, Unheard
from polly_state.commands.counters import MAX_COUNT, Add, Count
from polly_state.commands.deliveries import Acknowledge, Handed, HandedOut, TakeMessages
from polly_state.commands.entries import (
    ClaimLoad,
    DropEntry,
    EndLoad,
    LoadClaim,
    PutEntry,
    RenewLoad,
    of_cache,
)
from polly_state.commands.fenced import SetFenced
from polly_state.commands.fields import ClearFields, GetField, GetFields, PatchFields, ToggleField
from polly_state.commands.leases import Acquire, Grant, Holder, Release, Renew
from polly_state.commands.limits import Admit, AdmitAll, OnOutage, Plan, Verdict
from polly_state.commands.logs import Append, ClearLog, Item, Latest
from polly_state.commands.members import PutMembers
from polly_state.commands.parts import entered
from polly_state.commands.permits import Enter, Keep, Leave
from polly_state.commands.publications import Publish
from polly_state.commands.queues import Enqueue, Queued
from polly_state.commands.registers import SetRegister, Touch
from polly_state.commands.rules import Quota, Rule
from polly_state.commands.sets import ClearSet, Contains, Members, PatchSet
from polly_state.commands.swaps import SwapFields
from polly_state.commands.takes import TakeValue
from polly_state.commands.tokens import Fate, Issue, Take, Taken
from polly_state.commands.values import Condition, Delete, Expire, Get, Persist, Set, TimeToLive

__all__ = [
    "MAX_COUNT",
    "Acknowledge",
    "Acquire",
    "Add",
    "Admit",
    "AdmitAll",
    "Append",
    "Beat",
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
    "Enter",
    "Expire",
    "Fate",
    "Get",
    "GetField",
    "GetFields",
    "Grant",
    "Handed",
    "HandedOut",
    "Heard",
    "Holder",
    "Issue",
    "Item",
    "Keep",
    "Latest",
    "Leave",
    "LoadClaim",
    "Members",
    "OnOutage",
    "Outdated",
    "PatchFields",
    "PatchSet",
    "Persist",
    "Plan",
    "Publish",
    "PutEntry",
    "PutMembers",
    "Queued",
    "Quota",
    "Release",
    "Renew",
    "RenewLoad",
    "Rule",
    "Script",
    "Set",
    "SetFenced",
    "SetRegister",
    "Stamped",
    "SwapFields",
    "Take",
    "TakeMessages",
    "TakeValue",
    "Taken",
    "TimeToLive",
    "ToggleField",
    "Touch",
    "Unheard",
    "Verdict",
    "companion",
    "ended",
    "entered",
    "load_scripts",
    "of_cache",
    "outlived",
    "stamp_of",
]
