"""Typed handles that services are made of."""

from polly_state.structures.base import MAX_FIELD_NAME, Binding, Read, Structure, Ttl, seconds
from polly_state.structures.codec import Codec
from polly_state.structures.counters import Counters
from polly_state.structures.fields import Fields
from polly_state.structures.handles import Handles
from polly_state.structures.keys import Family, Id
from polly_state.structures.log import Log
from polly_state.structures.members import Members
from polly_state.structures.queue import Delivery, Message, Queue
from polly_state.structures.sets import Sets
from polly_state.structures.values import Values

__all__ = [
    "MAX_FIELD_NAME",
    "Binding",
    "Codec",
    "Counters",
    "Delivery",
    "Family",
    "Fields",
    "Handles",
    "Id",
    "Log",
    "Members",
    "Message",
    "Queue",
    "Read",
    "Sets",
    "Structure",
    "Ttl",
    "Values",
    "seconds",
]
