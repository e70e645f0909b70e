"""Typed handles that services are made of."""

from polly_state.structures.base import MAX_FIELD_NAME, Binding, Read, Structure, Ttl, seconds
from polly_state.structures.codec import Codec
from polly_state.structures.counters import Counters
from polly_state.structures.events import Events
from polly_state.structures.fields import Fields
from polly_state.structures.handles import Handles
from polly_state.structures.holding import Lease
from polly_state.structures.keys import Family, Id
from polly_state.structures.leases import Leases, Tenure
from polly_state.structures.limiter import Decision, Limiter
from polly_state.structures.locks import Locks
from polly_state.structures.log import Log
from polly_state.structures.members import Members
from polly_state.structures.outlet import Gap
from polly_state.structures.presence import Presence, Roll, Standing
from polly_state.structures.queue import Delivery, Message, Queue
from polly_state.structures.semaphore import Semaphore
from polly_state.structures.sets import Sets
from polly_state.structures.tokens import Redemption, Tokens
from polly_state.structures.values import Values
from polly_state.structures.watchdog import Watchdog

__all__ = [
    "MAX_FIELD_NAME",
    "Binding",
    "Codec",
    "Counters",
    "Decision",
    "Delivery",
    "Events",
    "Family",
    "Fields",
    "Gap",
    "Handles",
    "Id",
    "Lease",
    "Leases",
    "Limiter",
    "Locks",
    "Log",
    "Members",
    "Message",
    "Presence",
    "Queue",
    "Read",
    "Redemption",
    "Roll",
    "Semaphore",
    "Sets",
    "Standing",
    "Structure",
    "Tenure",
    "Tokens",
    "Ttl",
    "Values",
    "Watchdog",
    "seconds",
]
