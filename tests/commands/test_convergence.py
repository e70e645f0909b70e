"""Convergence: the same writes, in any order and some of them twice, leave the same everywhere."""

from __future__ import annotations

import contextlib
import random

import pytest

from polly_state.commands import (
    Append,
    ClearFields,
    ClearLog,
    ClearSet,
    Enqueue,
    GetFields,
    Latest,
    Members,
    Outdated,
    PatchFields,
    PatchSet,
    Queued,
)
from tests.stores import LocalBench

NAMES = "abcd"
ORDERS = 6
WRITES = 24
LIMIT = 4


def patch_fields(lots, key, stamp):
    return PatchFields(key, stamp, {lots.choice(NAMES): lots.choice([b"1", b"2", None])})


def patch(lots, key, stamp):
    return PatchSet(key, stamp, {lots.choice(NAMES): lots.random() < 0.6})


def append(lots, key, stamp):
    return Append(key, stamp, b"%d" % lots.randrange(100), LIMIT)


def enqueue(lots, key, stamp):
    return Enqueue(key, stamp, b"%d" % lots.randrange(100))


def clearing(make, clear):
    return lambda lots, key, stamp: clear(key, stamp) if lots.random() < 0.1 else make(lots, key, stamp)


def result_of_set(writes):
    """What a set holds after *writes*, told from their stamps alone."""
    cleared = max((each.stamp for each in writes if isinstance(each, ClearSet)), default="")
    held = {}
    for each in sorted(writes, key=lambda each: each.stamp):
        if isinstance(each, PatchSet) and each.stamp > cleared:
            held |= each.changes
    return {member for member, there in held.items() if there}


def result_of_fields(writes):
    cleared = max((each.stamp for each in writes if isinstance(each, ClearFields)), default="")
    held = {}
    for each in sorted(writes, key=lambda each: each.stamp):
        if isinstance(each, PatchFields) and each.stamp > cleared:
            held |= each.changes
    return {field: content for field, content in held.items() if content is not None}


def result_of_log(writes):
    cleared = max((each.stamp for each in writes if isinstance(each, ClearLog)), default="")
    entries = sorted(((each.stamp, each.content) for each in writes if isinstance(each, Append)), reverse=True)
    return [entry for entry in entries if entry[0] > cleared][:LIMIT]


def result_of_queue(writes):
    return sorted((each.stamp, each.content) for each in writes)


KINDS = [
    pytest.param(clearing(patch_fields, ClearFields), GetFields, result_of_fields, id="fields"),
    pytest.param(clearing(patch, ClearSet), Members, result_of_set, id="set"),
    pytest.param(clearing(append, ClearLog), lambda key: Latest(key, 100), result_of_log, id="log"),
    pytest.param(enqueue, lambda key: Queued(key, 100), result_of_queue, id="queue"),
]


async def carried_out(bench, writes):
    for each in writes:
        with contextlib.suppress(Outdated):
            await bench.attempt(each)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("make", "look", "expected"), KINDS)
async def test_any_order_leaves_the_same(redis_store, make, look, expected, seed):
    lots = random.Random(seed)
    stamps = [redis_store.stamp() for _ in range(WRITES)]
    for number in range(ORDERS):
        key = redis_store.key(number)
        choices = random.Random(seed)
        writes = [make(choices, key, stamp) for stamp in stamps]
        order = writes + lots.choices(writes, k=WRITES // 2)
        lots.shuffle(order)
        local = LocalBench()
        for bench in (redis_store, local):
            await carried_out(bench, order)
            found = await bench.do(look(key))
            assert expected(writes) == (sorted(found) if isinstance(look(key), Queued) else found), order
