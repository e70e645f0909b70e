"""The local store: the authority while no Redis is configured."""

from __future__ import annotations

import pytest

from polly_state import Ack, LocalStoreFull, Origin, StoreUnavailable
from polly_state.commands import ClearFields, Get, PatchFields, Set, SetRegister, ToggleField
from polly_state.structures import Binding, Family, Values
from tests.stores import LocalBench

DAY = 86_400


async def test_an_answer_says_that_it_is_local_and_how_well_it_is_kept(local):
    answer = await local.store.execute(SetRegister("a", local.stamp(), b"1"))
    assert answer == (True, Origin.LOCAL, Ack.LOCAL_VOLATILE, 0.0)
    assert await local.store.execute(Get("a")) == (b"1", Origin.LOCAL, Ack.LOCAL_VOLATILE, 0.0)


@pytest.mark.parametrize("require", [Ack.LOCAL_DURABLE, Ack.REMOTE, Ack.REPLICATED])
async def test_more_than_it_can_give_is_refused_and_nothing_is_written(local, require):
    with pytest.raises(StoreUnavailable, match=f"{require.name} .*REDIS_URL"):
        await local.store.execute(SetRegister("a", local.stamp(), b"1"), require)
    assert await local.do(Get("a")) is None


async def test_many_are_answered_in_order(local):
    answers = await local.store.execute_many([Set("a", b"1"), Get("a"), Set("a", b"2"), Get("a")])
    assert [answer.value for answer in answers] == [True, b"1", True, b"2"]


async def test_an_outdated_write_of_a_waiting_caller_is_written_newer(local):
    old = local.stamp()
    await local.do(SetRegister("a", local.stamp(), b"1"))
    assert await local.do(SetRegister("a", old, b"2")) is True
    assert await local.do(Get("a")) == b"2"


async def test_nothing_durable_fades_with_the_days(local):
    await local.do(PatchFields("h", local.stamp(), {"a": b"1"}))
    await local.do(ClearFields("h", local.stamp()))
    await local.do(PatchFields("h", local.stamp(), {"a": b"2"}))
    await local.do(SetRegister("r", local.stamp(), None))
    await local.do(SetRegister("r", local.stamp(), b"1", keep_ttl=True))
    await local.do(ToggleField("t", local.stamp(), "f", b"1", b"0"))
    await local.lapse(400 * DAY)
    assert await local.do(Get("r")) == b"1"
    assert await local.do(ToggleField("t", local.stamp(), "f", b"1", b"0")) is False
    assert len(local.keyspace) == 3


async def test_a_full_store_refuses_aloud_and_goes_on():
    bench = LocalBench(max_entries=2)
    values = Values(Binding(bench.store, Family("n", "f"), None, 1000), int)
    await values.set("a", 1)
    await values.set("b", 2)
    with pytest.raises(LocalStoreFull):
        await values.set("c", 3)
    assert await values.get_many(["a", "b", "c"]) == {"a": 1, "b": 2}
    await values.delete("a")
    await values.set("c", 3)
    assert await values.get_many(["a", "b", "c"]) == {"b": 2, "c": 3}
