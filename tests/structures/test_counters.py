"""Counters: what a caller is told of an addition that failed while others were on their way."""

from __future__ import annotations

import asyncio

import pytest

from polly_state import CircuitOpen, LocalStoreFull, StoreUnavailable
from polly_state.store import Ack
from polly_state.structures import Binding, Counters, Family
from tests.stores import LocalBench


class Held:
    """A store that refuses the first addition, but only when it is told to."""

    def __init__(self, store, error):
        self.clock = store.clock
        self.refuse = asyncio.Event()
        self._store = store
        self._error = error
        self._first = True

    async def execute(self, command, require=Ack.LOCAL_VOLATILE):
        if self._first:
            self._first = False
            await self.refuse.wait()
            raise self._error
        return await self._store.execute(command, require)


@pytest.fixture(params=[CircuitOpen("away"), LocalStoreFull("full")])
def held(request):
    return Held(LocalBench().store, request.param)


@pytest.fixture
def counters(held):
    return Counters(Binding(held, Family("n", "f"), None, 1000))


async def test_a_refused_addition_that_a_later_one_has_taken_along_may_be_applied(held, counters):
    first = asyncio.create_task(counters.add("x"))
    await asyncio.sleep(0)
    await counters.add("x")
    held.refuse.set()
    with pytest.raises(StoreUnavailable) as failed:
        await first
    assert failed.value.maybe_applied


async def test_a_refused_addition_comes_along_with_no_later_one(held, counters):
    held.refuse.set()
    with pytest.raises((CircuitOpen, LocalStoreFull)) as failed:
        await counters.add("x")
    assert not failed.value.maybe_applied
    assert await counters.add("x") == 1
