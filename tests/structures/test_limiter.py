"""The limiter: names, waiting and bad input, the same on every store."""

from __future__ import annotations

import asyncio
import secrets
import time

import pytest

from polly_state import Decision, Mode, Origin, PollyState, Quota, RateLimited, Rule
from polly_state.services import RULES
from polly_state.structures import Binding, Family, Limiter
from polly_state.testing import FaultProxy
from tests.outages import state_at, until

HOUR = 3600.0
STRANGE = ["a:b", "a/b", "r?", "r*", "r[1]", "{x}", "100%", "two\nlines", "語", ("a", "b"), "x" * 4000]


@pytest.fixture
def limiter(store):
    def make(*rules, **parts):
        family = Family(store.key().partition(":")[0], "t")
        return Limiter(Binding(store.store, family, None, 1000), rules, **parts)

    return make


async def test_a_decision_tells_all(store, limiter):
    limits = limiter(Rule("a", 3, HOUR))
    found = [await limits.admit("u") for _ in range(4)]
    assert [(each.allowed, each.remaining) for each in found] == [(True, 2), (True, 1), (True, 0), (False, 0)]
    first, last = found[0], found[-1]
    assert isinstance(first, Decision)
    assert (first.retry_after, last.rule) == (0.0, "a")
    assert last.retry_after == pytest.approx(HOUR / 3, abs=1)
    assert last.reset_at == pytest.approx(store.clock.now() + HOUR, abs=1)
    assert {each.origin for each in found} <= {Origin.REDIS, Origin.LOCAL}


async def test_rules_are_asked_by_name_or_all_at_once(store, limiter):
    limits = limiter(Rule("minute", 2, 60), Quota("day", 100, 864_000))
    assert (await limits.admit("u")).rule == "minute"
    assert (await limits.admit("u", "day", cost=50)).remaining == 49
    assert (await limits.admit("u", "day", "minute")).remaining == 0
    assert not (await limits.admit("u")).allowed
    assert (await limits.peek("u", "day")).remaining == 48
    await limits.reset("u", "minute")
    assert (await limits.peek("u")).remaining == 2
    await limits.reset("u")
    assert (await limits.peek("u", "day")).remaining == 100


@pytest.fixture
def one_server(store_url):
    if "+cluster" in (store_url or ""):
        pytest.skip("no script of a Cluster reaches two slots; tests/cluster has what is said then")


@pytest.mark.usefixtures("one_server")
async def test_rules_under_different_ids_are_one_decision(limiter):
    limits = limiter(Rule("user", 2, HOUR), Quota("guild", 3, 864_000))
    asked = ("user", "ann"), ("guild", "g")
    assert (await limits.peek_all(*asked)).remaining == 2
    found = [await limits.admit_all(*asked) for _ in range(3)]
    assert [(each.allowed, each.rule, each.remaining) for each in found] == [
        (True, "user", 1),
        (True, "user", 0),
        (False, "user", 0),
    ]
    assert found[-1].retry_after == pytest.approx(HOUR / 2, abs=1)
    # What was refused has used nothing of the guild's, which is the same one that is asked for alone.
    assert (await limits.peek("g", "guild")).remaining == 1
    assert (await limits.admit_all(("user", "bob"), ("user", "eve"), ("guild", "g"))).rule == "guild"
    refused = await limits.admit_all(("user", "bob"), ("guild", "g"))
    assert (refused.allowed, refused.rule) == (False, "guild")
    assert [(await limits.peek(name, "user")).remaining for name in ("bob", "eve", "g")] == [1, 1, 2]


@pytest.mark.usefixtures("one_server")
async def test_of_many_decisions_at_once_about_two_ids_each_counts_for_both_or_none(limiter):
    limits = limiter(Rule("user", 30, HOUR), Rule("guild", 20, HOUR))
    users = ["ann", "bob"] * 25
    found = await asyncio.gather(*(limits.admit_all(("user", user), ("guild", "g"), cost=1) for user in users))
    assert sum(each.allowed for each in found) == 20
    left = [(await limits.peek(user, "user")).remaining for user in ("ann", "bob")]
    assert sum(left) == 60 - 20
    assert {each.rule for each in found if not each.allowed} == {"guild"}


@pytest.mark.parametrize("choice", ["share", "allow", "deny"])
async def test_while_redis_is_away_rules_under_different_ids_are_one_decision_too(server, choice):
    async with FaultProxy(server.url) as proxy, state_at(proxy.url, namespace=f"lim-{secrets.token_hex(4)}") as state:
        limits = state.limiter("l", Rule("user", 4, HOUR), Rule("guild", 100, HOUR), on_outage=choice)
        proxy.refuse()
        proxy.reset()
        await until(lambda: state.mode is Mode.DEGRADED)
        found = [await limits.admit_all(("user", "ann"), ("guild", "g")) for _ in range(3)]
        # A share lets a quarter of it come at once.
        expected = {"share": [True, False, False], "allow": [True] * 3, "deny": [False] * 3}
        assert [each.allowed for each in found] == expected[choice]
        assert {each.origin for each in found} == {Origin.SHARE if choice == "share" else Origin.DEFAULT}
        assert (await limits.admit_all(("user", "bob"), ("guild", "g"))).allowed is (choice != "deny")


@pytest.mark.parametrize(
    "asked", [(), (("a", 1), ("a", 1)), (("a", 1), ("a", "1")), (("b", 1),), [("a", number) for number in range(17)]]
)
async def test_what_makes_no_decision_is_a_value_error(limiter, asked):
    with pytest.raises(ValueError, match="rule"):
        await limiter(Rule("a", 5, 60)).admit_all(*asked)


async def test_ids_do_not_share(store, limiter):
    limits = limiter(Rule("a", 1, HOUR))
    for name in STRANGE:
        assert (await limits.admit(name)).allowed
    for name in STRANGE:
        assert not (await limits.admit(name)).allowed


async def test_to_wait_ends_with_an_admission(server):
    async with state_at(server.url, namespace=f"limiter-{secrets.token_hex(4)}") as state:
        limits = state.limiter("t", Rule("a", 1, 0.05))
        began = time.monotonic()
        for _ in range(3):
            assert (await limits.wait("u")).allowed
        assert time.monotonic() - began >= 0.1


async def test_to_wait_too_long_is_refused_at_once(store, limiter):
    limits = limiter(Rule("a", 1, HOUR))
    await limits.wait("u", timeout=0)
    with pytest.raises(RateLimited, match="'a'") as limited:
        await asyncio.wait_for(limits.wait("u", timeout=30), 5)
    assert limited.value.retry_after == pytest.approx(HOUR, abs=1)


@pytest.mark.parametrize("id", ["", (), "x" * 5000, "\ud800"])
async def test_an_id_that_is_none_is_a_value_error(store, limiter, id):
    with pytest.raises(ValueError, match="id"):
        await limiter(Rule("a", 1, 1)).admit(id)


async def test_bad_arguments_are_named_and_nothing_is_used(store, limiter):
    limits = limiter(Rule("a", 3, HOUR), Rule("b", 10, HOUR))
    for names in (("c",), ("a", "c"), ("a", "a")):
        with pytest.raises(ValueError, match="out of: a, b"):
            await limits.admit("u", *names)
    for cost in (0, -1, 2**60):
        with pytest.raises(ValueError, match="from 1"):
            await limits.admit("u", cost=cost)
    with pytest.raises(ValueError, match="'a' never allows more than 3"):
        await limits.admit("u", cost=4)
    for cost in (1.5, True, "1"):
        with pytest.raises(TypeError, match="int"):
            await limits.admit("u", cost=cost)
    for arguments in ((), (Rule("a", 1, 1), Quota("a", 1, 1))):
        with pytest.raises(ValueError, match="name of its own"):
            limiter(*arguments)
    with pytest.raises(ValueError, match="on_outage"):
        limiter(Rule("a", 1, 1), on_outage="maybe")
    assert (await limits.peek("u")).remaining == 3


async def test_the_rules_of_a_music_bot_are_there_from_the_start():
    async with PollyState() as state:
        for rule in RULES:
            found = [await state.limits.admit(rule.name, ("play", 1)) for _ in range(rule.limit + 1)]
            assert [each.allowed for each in found] == [True] * rule.limit + [False]
        assert (await state.limits.peek("command", 2)).remaining == 5
        await state.limits.reset("command", ("play", 1))
        assert (await state.limits.admit("command", ("play", 1), "api", cost=1)).rule == "api"


async def test_own_rules_join_them_until_the_first_question():
    async with PollyState() as state:
        state.limits.add(Rule("cooldown", 1, 3), Quota("daily", 2, 86_400), Rule("command", 1, 60))
        assert (await state.limits.wait("daily", 1, timeout=0)).remaining == 1
        assert (await state.limits.admit("command", 1)).remaining == 0
        with pytest.raises(ValueError, match="cooldown"):
            await state.limits.admit("unknown", 1)
        with pytest.raises(RuntimeError, match="before"):
            state.limits.add(Rule("late", 1, 1))
