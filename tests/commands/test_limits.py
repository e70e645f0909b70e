"""Limits: as many as the rules allow, the same here and there, and all rules or none."""

from __future__ import annotations

import asyncio
import random

import pytest

from polly_state.commands import Admit, Plan, Quota, Rule
from polly_state.keyspace import Keyspace
from polly_state.testing import Clock

HOUR, DAY = 3600.0, 86_400.0
MINUTE = Rule("minute", 5, 60)


def plan(*rules, on_outage="share"):
    return Plan(rules, on_outage)


async def admit(store, *rules, cost=1, take=True, name="k"):
    return await store.do(Admit(store.key(name), plan(*rules), cost, store.clock.now(), 1, take))


@pytest.mark.parametrize("rule", [Rule("a", 3, HOUR), Quota("a", 3, 10 * DAY)])
async def test_what_remains_is_told_exactly(store, rule):
    found = [await admit(store, rule) for _ in range(5)]
    assert [each.allowed for each in found] == [True, True, True, False, False]
    assert [each.remaining for each in found] == [2, 1, 0, 0, 0]


@pytest.mark.parametrize("rule", [Rule("a", 5, HOUR), Quota("a", 5, 10 * DAY)])
async def test_50_at_once_admit_exactly_the_limit(store, rule):
    found = await asyncio.gather(*(admit(store, rule) for _ in range(50)))
    assert sum(each.allowed for each in found) == 5
    assert sorted(each.remaining for each in found if each.allowed) == [0, 1, 2, 3, 4]


async def test_a_bucket_fills_evenly_and_says_when(store):
    rule = Rule("a", 2, 0.4)
    first, second, third = [await admit(store, rule) for _ in range(3)]
    assert (first.allowed, second.allowed, third.allowed) == (True, True, False)
    assert 0 < third.retry_after <= 0.2
    assert third.retry_after < third.reset_after <= 0.4
    await store.lapse(third.retry_after)
    assert (await admit(store, rule)).allowed


async def test_a_burst_is_apart_from_the_rate(store):
    rule = Rule("a", 3600, HOUR, burst=2)
    assert [(await admit(store, rule)).allowed for _ in range(3)] == [True, True, False]


async def test_a_window_ends_at_a_multiple_of_its_length(store):
    rule = Quota("day", 1, 10 * DAY)
    assert (await admit(store, rule)).allowed
    refused = await admit(store, rule)
    into = store.clock.now() % (10 * DAY)
    assert refused.retry_after == refused.reset_after == pytest.approx(10 * DAY - into, abs=1)


async def test_a_window_starts_anew(store):
    rule = Quota("short", 2, 0.25)
    await store.lapse(0.25 - store.clock.now() % 0.25)
    assert [(await admit(store, rule)).allowed for _ in range(3)] == [True, True, False]
    await store.lapse(0.25)
    assert (await admit(store, rule)).remaining == 1


async def test_what_one_rule_refuses_uses_nothing_of_the_others(store):
    many, few, day = Rule("many", 100, HOUR), Rule("few", 1, HOUR), Quota("day", 50, 10 * DAY)
    assert (await admit(store, many, few, day)).remaining == 0
    refused = await admit(store, many, few, day)
    assert (refused.allowed, refused.rule, refused.remaining) == (False, 1, 0)
    assert (await admit(store, many, take=False)).remaining == 99
    assert (await admit(store, day, take=False)).remaining == 49


async def test_the_rule_that_takes_longest_is_the_one_that_refuses(store):
    short, long = Rule("short", 1, HOUR), Rule("long", 1, DAY)
    await admit(store, short, long)
    refused = await admit(store, short, long)
    assert (refused.rule, refused.retry_after) == (1, pytest.approx(DAY, abs=1))


@pytest.mark.parametrize("rule", [Rule("a", 10, HOUR), Quota("a", 10, 10 * DAY)])
async def test_a_cost_is_taken_whole_or_not_at_all(store, rule):
    assert (await admit(store, rule, cost=7)).remaining == 3
    refused = await admit(store, rule, cost=4)
    assert (refused.allowed, refused.remaining) == (False, 3)
    assert (await admit(store, rule, cost=3)).remaining == 0


@pytest.mark.parametrize("rule", [Rule("a", 3, HOUR), Quota("a", 3, 10 * DAY)])
async def test_to_look_uses_nothing(store, rule):
    for _ in range(5):
        assert (await admit(store, rule, take=False)).remaining == 3
    await admit(store, rule, cost=3)
    looked = await admit(store, rule, take=False)
    assert (looked.allowed, looked.remaining) == (False, 0)


async def test_what_is_used_ends_with_the_time_it_counts_for(redis_store):
    await admit(redis_store, Rule("a", 2, 100), Quota("b", 2, 100))
    for suffix in (":a", ":b"):
        assert 0 < await redis_store.ask("PTTL", redis_store.key() + suffix) <= 100_000


async def test_what_another_kind_of_rule_has_left_counts_as_nothing(store):
    for rule in (Rule("a", 2, HOUR), Quota("a", 2, 10 * DAY), Rule("a", 2, HOUR)):
        assert (await admit(store, rule)).remaining == 1


async def test_a_step_back_of_the_servers_clock_locks_nobody_out(redis_store):
    await redis_store.ask("SET", redis_store.key() + ":a", str(int((redis_store.clock.now() + DAY) * 1e6)))
    assert (await admit(redis_store, Rule("a", 2, 60))).retry_after <= 30


@pytest.mark.parametrize("seed", range(8))
async def test_random_sequences_give_equal_verdicts(redis_store, local, seed):
    chance = random.Random(seed)
    rules = [Rule("a", 7, DAY), Rule("b", 20, DAY, burst=9), Quota("c", 12, 100 * DAY), Rule("d", 1, 2 * DAY)]
    now = redis_store.clock.now()
    local.time.turn_to(now)
    for _ in range(60):
        some = plan(*chance.sample(rules, chance.randint(1, 4)))
        # More than a rule ever allows is refused before it comes here.
        cost = min(chance.choice([1, 1, 1, 2, 5]), *(rule.most for rule in some.rules), 5)
        take = chance.random() < 0.8
        there = await redis_store.do(Admit(redis_store.key(), some, cost, 0.0, 1, take))
        here = await local.do(Admit(local.key(), some, cost, redis_store.clock.now(), 1, take))
        assert there[:2] == here[:2]
        assert there[2:4] == pytest.approx(here[2:4], abs=5)
        assert there.rule == here.rule


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Rule("", 1, 1),
        lambda: Rule("a b", 1, 1),
        lambda: Rule("a", 0, 1),
        lambda: Rule("a", -1, 1),
        lambda: Rule("a", 1.5, 1),
        lambda: Rule("a", True, 1),
        lambda: Rule("a", 1, 0),
        lambda: Rule("a", 1, float("nan")),
        lambda: Rule("a", 1, float("inf")),
        lambda: Rule("a", 1, "60"),
        lambda: Rule("a", 1, 60, burst=0),
        lambda: Quota("a", 0, 1),
    ],
)
def test_a_rule_out_of_bounds_is_a_value_error(bad):
    with pytest.raises(ValueError, match=r"limit|rule"):
        bad()


def outage(rule, processes, seconds, *, every=0.05, cost=1, on_outage="share"):
    """What one of so many processes admits in each minute, asked all the time."""
    mirror, clock, some = Keyspace(mirror=True, clock=(time := Clock())), time, plan(rule, on_outage=on_outage)
    admitted = [0] * (seconds // 60)
    start = clock()
    while (passed := clock() - start) < seconds:
        admitted[int(passed // 60)] += cost * Admit("k", some, cost, clock(), processes).alone(mirror).allowed
        clock.advance(every)
    return admitted


@pytest.mark.parametrize(("limit", "processes"), [(100, 4), (100, 1), (10, 4), (1000, 16)])
def test_the_shares_of_all_come_to_less_than_the_limit_and_most_of_it(limit, processes):
    for admitted in outage(Rule("a", limit, 60), processes, 180):
        assert 0.6 * limit <= admitted * processes <= 1.1 * limit


def test_a_share_of_a_window_is_its_part():
    assert [each * 4 for each in outage(Quota("a", 100, 60), 4, 240)][1:] == [100, 100, 100]


def test_a_share_is_never_nothing_at_all():
    assert outage(Rule("a", 2, 60), 50, 120)[0] == 1
    assert outage(Quota("a", 2, 120), 50, 120)[0] == 1


def test_a_cost_above_the_share_is_owed():
    assert sum(outage(Rule("a", 100, 60), 4, 600, cost=50)) <= 10 * 25 * 1.4


def test_what_was_used_up_stays_so_when_redis_goes():
    mirror, clock = Keyspace(mirror=True, clock=(time := Clock())), time
    admit = Admit("k", plan(Rule("a", 100, 60)), 1, clock(), 4)
    refused = Admit("k", plan(Rule("a", 1, 60)), 1, clock(), 4).apply(Keyspace(clock=clock))
    admit.learn(mirror, refused._replace(allowed=False, rule=0))
    assert not admit.alone(mirror).allowed
    quota = Admit("q", plan(Quota("a", 100, 60)), 1, clock(), 4)
    quota.learn(mirror, refused._replace(allowed=False, rule=0))
    assert not quota.alone(mirror).allowed


def test_what_was_admitted_costs_no_memory():
    mirror = Keyspace(mirror=True, clock=Clock())
    admit = Admit("k", plan(MINUTE), 1, 0.0)
    admit.learn(mirror, admit.apply(Keyspace(clock=Clock())))
    assert len(mirror) == 0


@pytest.mark.parametrize(("choice", "allowed"), [("allow", True), ("deny", False)])
def test_who_does_not_share_admits_all_or_nothing(choice, allowed):
    assert {bool(each) for each in outage(MINUTE, 1, 120, on_outage=choice)} == {allowed}
