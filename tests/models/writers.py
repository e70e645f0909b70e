"""What the models of writes share: commands as they are kept and sent, and what a keyspace holds in the end."""

from __future__ import annotations

import hypothesis.strategies as st

from polly_state.commands import (
    Add,
    Append,
    ClearFields,
    ClearLog,
    ClearSet,
    Enqueue,
    Outdated,
    PatchFields,
    PatchSet,
    SetRegister,
    Touch,
)
from polly_state.keyspace import Keyspace

LONG, SHORT = 10_000.0, 10.0
FIELDS = ("a", "b", "c")
# Two keys of each kind; nothing but its own kind of write goes to a key.
REGISTERS, HASHES, COUNTERS, SETS, LOGS, QUEUES = KINDS = tuple(
    tuple(f"n:{kind}:{{{n}}}" for n in (1, 2)) for kind in "rhcslq"
)
TOUCHED = REGISTERS[0]
KEYS = tuple(key for keys in KINDS for key in keys)
CLEARS = {key: kind for keys, kind in ((HASHES, ClearFields), (SETS, ClearSet), (LOGS, ClearLog)) for key in keys}
LIMIT = 3

contents = st.none() | st.sampled_from([b"", b"1", b"two", b"\xff\x00"])
ttls = st.sampled_from([None, None, LONG, 2 * LONG])


def ttl_of(key, ttl=SHORT):
    """Of hashes and counters, whose families have one ttl for all writes."""
    return ttl if "1" in key else None


class Totals:
    """What each origin has added to each counter so far."""

    def __init__(self):
        self._totals = {}

    def add(self, key, stamp, origin, by, ttl=SHORT):
        slot = (key, origin, by > 0)
        self._totals[slot] = self._totals.get(slot, 0) + abs(by)
        return Add(key, stamp, origin, self._totals[slot], by, ttl_of(key, ttl))

    def take_back(self, command):
        self._totals[command.key, command.origin, command.by > 0] -= abs(command.by)


def register(draw, stamp):
    return SetRegister(draw(st.sampled_from(REGISTERS)), stamp, draw(contents), draw(ttls))


def patch(draw, stamp):
    key = draw(st.sampled_from(HASHES))
    return PatchFields(key, stamp, {draw(st.sampled_from(FIELDS)): draw(contents)}, ttl_of(key))


def member(draw, stamp):
    key = draw(st.sampled_from(SETS))
    return PatchSet(key, stamp, {draw(st.sampled_from(FIELDS)): draw(st.booleans())}, ttl_of(key))


def append(draw, stamp):
    key = draw(st.sampled_from(LOGS))
    return Append(key, stamp, draw(st.sampled_from([b"", b"1"])), LIMIT, ttl_of(key))


def enqueue(draw, stamp):
    key = draw(st.sampled_from(QUEUES))
    return Enqueue(key, stamp, draw(st.sampled_from([b"", b"1"])), ttl_of(key))


def clear(draw, stamp):
    key = draw(st.sampled_from(sorted(CLEARS)))
    return CLEARS[key](key, stamp)


def touch(draw, stamp):
    return Touch(TOUCHED, stamp, draw(st.sampled_from([LONG, 2 * LONG])))


def deliver(command, keyspace):
    """Do in *keyspace* what a kept command does when it arrives; whether it came in time."""
    try:
        command.late(keyspace.now()).apply(keyspace)
    except Outdated:
        return False
    return True


def twin(keyspace):
    """The same entries again, to try something on."""
    copy = Keyspace(clock=keyspace.now)
    for key in list(keyspace):
        entry = keyspace.entry(key)
        if entry is not None:
            copy.restore(key, entry.copy())
    return copy


def held(keyspace):
    """What a reader finds: content, and when it ends, for each key that is there."""
    found = {}
    for key in KEYS:
        entry = keyspace.entry(key)
        if entry is None or not entry.present:
            continue
        ends = None if entry.expires_at is None else round(entry.expires_at, 2)
        found[key] = (entry.content, ends)
    return found
