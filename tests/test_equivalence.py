"""Random sequences of every command give equal results on the local store and on real servers."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import random
from dataclasses import fields, replace
from typing import NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from polly_state import commands
from polly_state.commands import (
    Acknowledge,
    Acquire,
    Add,
    Admit,
    AdmitAll,
    Append,
    Beat,
    ClaimLoad,
    ClearFields,
    ClearLog,
    ClearSet,
    Command,
    Condition,
    Contains,
    Count,
    Delete,
    DropEntry,
    EndLoad,
    Enqueue,
    Enter,
    Expire,
    Get,
    GetField,
    GetFields,
    Heard,
    Holder,
    Issue,
    Keep,
    Latest,
    Leave,
    Members,
    PatchFields,
    PatchSet,
    Persist,
    Publish,
    PutEntry,
    PutMembers,
    Queued,
    Release,
    Renew,
    RenewLoad,
    Set,
    SetFenced,
    SetRegister,
    SwapFields,
    Take,
    TakeMessages,
    TakeValue,
    TimeToLive,
    ToggleField,
    Touch,
    Unheard,
    entered,
)
from polly_state.errors import StateError
from tests.stores import LocalBench, connected

KEYS = "abcdslqem"
FIELDS = ["on", "x", "~all", "ü"]
CONTENTS = [b"1", b"-7", b"true", b"false", b"", b"abc", b"\xff\x00"]
TOKENS = ["one", "other"]
LONG = 10_000.0
SLACK = 60.0


class Draw:
    """Where the choices of a sequence come from: a seeded generator, or Hypothesis."""

    def __init__(self, choose):
        self.one_of = choose

    def ttl(self):
        return self.one_of([None, None, LONG, LONG + 0.5])


class Ledger:
    """The totals of additions, kept as `Counters` keeps them: what was refused has its origin forgotten."""

    def __init__(self):
        self._totals = {}
        self._origins = itertools.count(1)

    def entered(self, command):
        if not isinstance(command, Add):
            return command
        origin, totals = self._totals.setdefault((command.key, command.origin), (f"{next(self._origins):08x}", {}))
        sign = command.by > 0
        totals[sign] = totals.get(sign, 0) + abs(command.by)
        return replace(command, origin=origin, total=totals[sign])

    def refused(self, command):
        if isinstance(command, Add):
            self._totals.pop((command.key, command.origin), None)


def set_(draw, key):
    return Set(
        key,
        draw.one_of(CONTENTS),
        draw.ttl(),
        draw.one_of(list(Condition)),
        draw.one_of([False, False, True]),
    )


def set_register(draw, key):
    return SetRegister(
        key,
        "",
        draw.one_of([*CONTENTS, None]),
        draw.ttl(),
        draw.one_of(list(Condition)),
        draw.one_of([False, False, True]),
        draw.one_of([None, None, *CONTENTS]),
    )


def patch_fields(draw, key):
    names = [name for name in FIELDS if draw.one_of([True, False])] or ["on"]
    return PatchFields(key, "", {name: draw.one_of([*CONTENTS, None]) for name in names}, draw.ttl())


def swap_fields(draw, key):
    expected = {name: draw.one_of([*CONTENTS, None, None]) for name in FIELDS if draw.one_of([True, False])}
    return SwapFields(key, "", expected, patch_fields(draw, key).changes, draw.ttl())


def put_members(draw, key):
    names = [name for name in FIELDS if draw.one_of([True, False, False])] or ["on"]
    return PutMembers(
        key, "", {name: draw.one_of(CONTENTS) for name in names}, LONG, draw.one_of([1, 2, 3, 50]), draw.ttl()
    )


def patch_set(draw, key):
    names = [name for name in FIELDS if draw.one_of([True, False])] or ["on"]
    return PatchSet(key, "", {name: draw.one_of([True, True, False]) for name in names}, draw.ttl())


def append(draw, key):
    return Append(key, "", draw.one_of(CONTENTS), draw.one_of([1, 3, 3, 50]), draw.ttl())


def end_load(draw, key):
    return EndLoad(key, draw.one_of(TOKENS), draw.one_of([*CONTENTS, None]), LONG)


def add(draw, key):
    by = draw.one_of([1, 5, -1, -30])
    return Add(key, "", draw.one_of(["one", "other"]), abs(by), by, draw.ttl())


TABLE = {
    Acknowledge: lambda draw, key: Acknowledge(key, "", f"{draw.one_of([1, 2]):024x}", draw.one_of(["", "0-1"])),
    Add: add,
    Append: append,
    ClaimLoad: lambda draw, key: ClaimLoad(key, draw.one_of(TOKENS), LONG),
    ClearFields: lambda draw, key: ClearFields(key, ""),
    ClearLog: lambda draw, key: ClearLog(key, ""),
    ClearSet: lambda draw, key: ClearSet(key, ""),
    Contains: lambda draw, key: Contains(key, draw.one_of(FIELDS)),
    Count: lambda draw, key: Count(key),
    Delete: lambda draw, key: Delete(key),
    DropEntry: lambda draw, key: DropEntry(key),
    EndLoad: end_load,
    Enqueue: lambda draw, key: Enqueue(key, "", draw.one_of(CONTENTS), draw.ttl()),
    PutMembers: put_members,
    Expire: lambda draw, key: Expire(key, draw.one_of([LONG, 2 * LONG])),
    Get: lambda draw, key: Get(key),
    GetField: lambda draw, key: GetField(key, draw.one_of(FIELDS)),
    GetFields: lambda draw, key: GetFields(key),
    Latest: lambda draw, key: Latest(key, draw.one_of([1, 2, 50])),
    Members: lambda draw, key: Members(key),
    PatchFields: patch_fields,
    PatchSet: patch_set,
    Persist: lambda draw, key: Persist(key),
    PutEntry: lambda draw, key: PutEntry(key, draw.one_of(CONTENTS), LONG),
    RenewLoad: lambda draw, key: RenewLoad(key, draw.one_of(TOKENS), LONG),
    Queued: lambda draw, key: Queued(key, draw.one_of([1, 2, 50])),
    Set: set_,
    SetRegister: set_register,
    SwapFields: swap_fields,
    TakeMessages: lambda draw, key: TakeMessages(key, draw.one_of([1, 2, 50]), LONG),
    TakeValue: lambda draw, key: TakeValue(key, ""),
    TimeToLive: lambda draw, key: TimeToLive(key),
    ToggleField: lambda draw, key: ToggleField(key, "", draw.one_of(FIELDS), b"true", b"false", draw.ttl()),
    Touch: lambda draw, key: Touch(key, "", draw.one_of([LONG, 2 * LONG])),
}


COMMON = [Delete, Expire, Persist, TimeToLive, Touch]
KINDS = {
    "s": [PatchSet, PatchSet, ClearSet, Members, Contains, *COMMON],
    "l": [Append, Append, Append, ClearLog, Latest, Latest, *COMMON],
    "e": [ClaimLoad, ClaimLoad, RenewLoad, EndLoad, EndLoad, PutEntry, DropEntry, *COMMON],
    "m": [PutMembers, PutMembers, PutMembers, SwapFields, PatchFields, ClearFields, GetFields, GetField, *COMMON],
    "q": [Enqueue, Enqueue, Queued, TakeMessages, Acknowledge, *COMMON],
}
"""Keys that mostly hold one kind; at the others anything may be tried."""


def test_every_command_takes_part():
    shown = {getattr(commands, name) for name in commands.__all__}
    concrete = {
        each
        for each in shown
        if inspect.isclass(each) and issubclass(each, Command) and each.encode is not Command.encode
    }
    assert concrete == TABLE.keys() | ELSEWHERE


#: Kinds of commands with keys of their own, compared beside their other tests.
ELSEWHERE = {
    Acquire,
    Admit,
    AdmitAll,
    Beat,
    Enter,
    Heard,
    Holder,
    Issue,
    Keep,
    Leave,
    Publish,
    Release,
    Renew,
    SetFenced,
    Take,
    Unheard,
}


class Step(NamedTuple):
    """A command, how many steps ago its stamp was given out, and whether it is sent once more."""

    command: Command
    lag: int
    twice: bool

    def __repr__(self):
        parts = {each.name: getattr(self.command, each.name) for each in fields(self.command)}
        return f"{type(self.command).__name__} {parts} lag={self.lag} twice={self.twice}"


class Side:
    """One of the two stores; each step gives out a stamp that one later step may use, since a stamp is one write's."""

    def __init__(self, bench):
        self._bench = bench
        self._spare = []

    async def outcomes(self, step):
        command = step.command
        self._spare.append(self._bench.stamp())
        if hasattr(command, "stamp"):
            command = command.restamped(self._old(step.lag) or self._bench.stamp())
        return [await self._outcome(command) for _ in range(1 + step.twice)]

    def _old(self, lag):
        if not 0 < lag < len(self._spare):
            return None
        stamp, self._spare[-1 - lag] = self._spare[-1 - lag], None
        return stamp

    async def _outcome(self, command):
        try:
            result = await self._bench.do(command)
        except StateError as error:
            return type(error).__name__, getattr(error, "code", None)
        if isinstance(command, (Latest, Queued)):
            # The stamps are those of two clocks.
            return [item.content for item in result]
        if isinstance(command, ClaimLoad):
            return result._replace(left=round(result.left / SLACK))
        if isinstance(command, TakeMessages):
            return [(each.content, each.deliveries) for each in result.messages], result.left
        if isinstance(result, dict):
            return {name: without_stamp(content) for name, content in result.items()}
        if isinstance(command, GetField):
            return without_stamp(result)
        return round(result / SLACK) if isinstance(command, TimeToLive) and result else result


def without_stamp(content):
    return content if entered(content) is None else content[24:]


async def run(here, there, steps):
    mine, theirs, ledger = Side(here), Side(there), Ledger()
    looks = [look(there.key(name)) for name in KEYS for look in (TimeToLive, Get, GetFields, Members)]
    looks += [look(there.key(name), 50) for name in KEYS for look in (Latest, Queued)]
    for number, step in enumerate([*steps, *(Step(look, 0, False) for look in looks)]):
        entered = step._replace(command=ledger.entered(step.command))
        expected, found = await theirs.outcomes(entered), await mine.outcomes(entered)
        if isinstance(expected[0], tuple):
            ledger.refused(step.command)
        before = [each for each in steps[:number] if each.command.key == step.command.key]
        assert (step, expected) == (step, found), "\n".join(map(str, before[-12:]))


def sequence_of(draw, key_of, length, names=KEYS):
    return [step_at(draw, key_of, draw.one_of(names)) for _ in range(length)]


def step_at(draw, key_of, name):
    kinds = list(TABLE) if draw.one_of([False] * 9 + [True]) else KINDS.get(name, list(TABLE))
    command = TABLE[draw.one_of(kinds)](draw, key_of(name))
    lag, twice = draw.one_of([0] * 8 + [1, 4]), draw.one_of([False] * 8 + [True])
    # Only Redis remembers what was taken: here no reply is lost.
    twice = twice and not isinstance(command, (TakeValue, TakeMessages))
    return Step(command, lag, twice)


@pytest.mark.parametrize("seed", range(20))
async def test_random_commands_give_equal_results(redis_store, seed):
    here = LocalBench()
    here.key = redis_store.key
    draw = Draw(random.Random(seed).choice)
    await run(here, redis_store, sequence_of(draw, redis_store.key, 400))


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_the_shortest_difference_is_none(server, data):
    draw = Draw(lambda choices: data.draw(st.sampled_from(choices)))
    length = data.draw(st.integers(1, 40))
    names = data.draw(st.sampled_from(["ab", "s", "l", "q", "e", "m"]))

    async def compare():
        async with connected(server.url) as there:
            here = LocalBench()
            here.key = there.key
            await run(here, there, sequence_of(draw, there.key, length, names))

    asyncio.run(compare())
