"""Entries and claims: one loader at a time, and none that an end of its claim has overtaken."""

from __future__ import annotations

from polly_state.commands import ClaimLoad, DropEntry, EndLoad, Get, PutEntry, RenewLoad

LONG = 1000.0


async def test_one_at_a_time_loads(store):
    key = store.key()
    first = await store.do(ClaimLoad(key, "one", LONG))
    assert (first.won, first.content) == (True, None)
    second = await store.do(ClaimLoad(key, "two", LONG))
    assert not second.won
    assert LONG - 60 < second.left <= LONG
    assert (await store.do(ClaimLoad(key, "one", LONG))).won
    assert not await store.do(EndLoad(key, "two", b"2", LONG))
    assert await store.do(Get(key)) is None
    assert await store.do(EndLoad(key, "one", b"1", LONG))
    assert await store.do(Get(key)) == b"1"
    third = await store.do(ClaimLoad(key, "two", LONG))
    assert (third.won, third.content) == (True, b"1")


async def test_who_drops_or_puts_ends_the_claim(store):
    for number, end in enumerate((DropEntry, lambda key: PutEntry(key, b"put", LONG))):
        key = store.key(f"k{number}")
        await store.do(ClaimLoad(key, "one", LONG))
        await store.do(end(key))
        assert not await store.do(EndLoad(key, "one", b"late", LONG))
        assert not await store.do(RenewLoad(key, "one", LONG))
        assert await store.do(Get(key)) in (None, b"put")


async def test_a_claim_lapses_unless_it_is_renewed(store):
    key, other = store.key("a"), store.key("b")
    for each in (key, other):
        await store.do(ClaimLoad(each, "one", 0.2))
    assert await store.do(RenewLoad(key, "one", LONG))
    assert not await store.do(RenewLoad(key, "two", LONG))
    await store.lapse(0.25)
    assert not (await store.do(ClaimLoad(key, "two", LONG))).won
    assert (await store.do(ClaimLoad(other, "two", LONG))).won


async def test_an_end_without_content_leaves_what_is_there(store):
    key = store.key()
    await store.do(PutEntry(key, b"old", LONG))
    await store.do(ClaimLoad(key, "one", LONG))
    assert await store.do(EndLoad(key, "one"))
    assert await store.do(Get(key)) == b"old"
    assert (await store.do(ClaimLoad(key, "two", LONG))).won
