"""The breaker: what leads where, whose outcomes count, and that it never gets stuck."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from polly_state.connection.breaker import TRANSITIONS, CircuitBreaker, CircuitState, Happening
from polly_state.errors import CircuitOpen
from polly_state.settings import BreakerSettings
from polly_state.testing import Clock

S, H = CircuitState, Happening

EXPECTED = {
    (S.CLOSED, H.TRIPPED): S.OPEN,
    (S.CLOSED, H.FAULT_FOUND): S.MISCONFIGURED,
    (S.CLOSED, H.ISOLATED): S.ISOLATED,
    (S.OPEN, H.PROBE_STARTED): S.PROBING,
    (S.OPEN, H.FAULT_FOUND): S.MISCONFIGURED,
    (S.OPEN, H.ISOLATED): S.ISOLATED,
    (S.PROBING, H.PROBE_SUCCEEDED): S.CLOSED,
    (S.PROBING, H.PROBE_FAILED): S.OPEN,
    (S.PROBING, H.FAULT_FOUND): S.MISCONFIGURED,
    (S.PROBING, H.ISOLATED): S.ISOLATED,
    (S.MISCONFIGURED, H.PROBE_STARTED): S.PROBING,
    (S.MISCONFIGURED, H.ISOLATED): S.ISOLATED,
    (S.ISOLATED, H.RELEASED): S.OPEN,
}
WAYS = {
    S.CLOSED: (),
    S.OPEN: (H.TRIPPED,),
    S.PROBING: (H.TRIPPED, H.PROBE_STARTED),
    S.MISCONFIGURED: (H.FAULT_FOUND,),
    S.ISOLATED: (H.ISOLATED,),
}


def breaker_in(state: CircuitState, clock=None, **parts) -> CircuitBreaker:
    breaker = CircuitBreaker("link", BreakerSettings(**parts), clock=clock or Clock())
    for happening in WAYS[state]:
        assert breaker.happen(happening, "for the test")
    assert state is breaker.state
    return breaker


@pytest.mark.parametrize(("state", "happening"), EXPECTED, ids=lambda each: each.value.replace(" ", "_"))
def test_each_transition_leads_where_it_should(state, happening):
    breaker = breaker_in(state)
    before = breaker.generation
    assert breaker.happen(happening, "why")
    assert EXPECTED[state, happening] is breaker.state
    assert breaker.generation == before + 1
    assert breaker.reason == "why"


@pytest.mark.parametrize(
    ("state", "happening"),
    [pair for pair in product(S, H) if pair not in EXPECTED],
    ids=lambda each: each.value.replace(" ", "_"),
)
def test_what_leads_nowhere_changes_nothing(state, happening):
    breaker = breaker_in(state)
    before = (breaker.state, breaker.generation, breaker.reason, breaker.since)
    assert not breaker.happen(happening, "why")
    assert before == (breaker.state, breaker.generation, breaker.reason, breaker.since)


def test_the_table_holds_nothing_else():
    held = {(state, happening): target for state, row in TRANSITIONS.items() for happening, target in row.items()}
    assert held == EXPECTED


@pytest.mark.parametrize("state", [state for state in S if state is not S.CLOSED])
def test_only_a_closed_circuit_admits(state):
    assert breaker_in(S.CLOSED).admit() == 0
    with pytest.raises(CircuitOpen, match=f"link circuit is {state.value}"):
        breaker_in(state).admit()


def test_the_fifth_failure_in_a_row_opens():
    breaker = breaker_in(S.CLOSED)
    assert [breaker.failed(0, "slow") for _ in range(4)] == [False] * 4
    assert breaker.failed(0, "slow")
    assert (breaker.state, breaker.reason) == (S.OPEN, "slow")


def test_failures_that_come_together_count_each():
    assert breaker_in(S.CLOSED).failed(0, "slow", count=5)


def test_a_success_ends_the_row():
    breaker = breaker_in(S.CLOSED)
    for _ in range(3):
        breaker.failed(0, "slow", count=4)
        breaker.succeeded(0, count=100)
    assert breaker.closed


def test_a_late_failure_opens_nothing():
    breaker = breaker_in(S.OPEN)
    breaker.happen(H.PROBE_STARTED)
    breaker.happen(H.PROBE_SUCCEEDED)
    assert not breaker.failed(0, "late", count=100)
    assert not breaker.trip(0, "late")
    assert breaker.closed


def test_a_late_success_closes_nothing():
    breaker = breaker_in(S.OPEN)
    breaker.succeeded(0, count=100)
    breaker.succeeded(breaker.generation, count=100)
    assert S.OPEN is breaker.state


def test_a_late_success_does_not_end_the_row_of_failures():
    breaker = breaker_in(S.PROBING)
    breaker.happen(H.PROBE_SUCCEEDED)
    breaker.failed(breaker.generation, "slow", count=4)
    breaker.succeeded(0, count=100)
    assert breaker.failed(breaker.generation, "slow")


def test_half_of_ten_outcomes_opens():
    breaker = breaker_in(S.CLOSED)
    for _ in range(4):
        breaker.succeeded(0)
        assert not breaker.failed(0, "slow")
    breaker.succeeded(0)
    assert breaker.failed(0, "slow")


def test_less_than_half_does_not_open():
    breaker = breaker_in(S.CLOSED)
    for _ in range(50):
        breaker.succeeded(0, count=3)
        assert not breaker.failed(0, "slow", count=2)
    assert breaker.closed


def test_what_is_older_than_the_window_does_not_count():
    clock = Clock()
    breaker = breaker_in(S.CLOSED, clock)
    for _ in range(4):
        breaker.succeeded(0)
        breaker.failed(0, "slow")
    clock.advance(10.1)
    breaker.succeeded(0)
    assert not breaker.failed(0, "slow")
    assert breaker.closed


def test_within_the_window_outcomes_add_up_however_spread():
    clock = Clock()
    breaker = breaker_in(S.CLOSED, clock)
    for _ in range(4):
        breaker.succeeded(0)
        assert not breaker.failed(0, "slow")
        clock.advance(1.9)
    breaker.succeeded(0)
    assert breaker.failed(0, "slow")


def test_closing_forgets_the_failures_before():
    breaker = breaker_in(S.CLOSED)
    breaker.failed(0, "slow", count=5)
    breaker.happen(H.PROBE_STARTED)
    breaker.happen(H.PROBE_SUCCEEDED)
    assert not breaker.failed(breaker.generation, "slow", count=4)


def test_since_tells_when_the_state_began():
    clock = Clock(100.0)
    breaker = breaker_in(S.CLOSED, clock)
    clock.advance(7)
    breaker.trip(0, "gone")
    assert breaker.since == pytest.approx(107.0)


class Circuit(RuleBasedStateMachine):
    """Any happening and outcome in any order, with the generations as callers hold them."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = CircuitBreaker("link", BreakerSettings(), clock=self.clock)
        self.held = [0]

    @rule(happening=st.sampled_from(H))
    def happens(self, happening):
        before = self.breaker.state
        moved = self.breaker.happen(happening)
        assert moved == ((before, happening) in EXPECTED)
        assert EXPECTED.get((before, happening), before) is self.breaker.state

    @precondition(lambda self: self.breaker.closed)
    @rule()
    def is_admitted(self):
        self.held.append(self.breaker.admit())

    @rule(data=st.data(), count=st.integers(1, 20))
    def fails(self, data, count):
        generation = data.draw(st.sampled_from(self.held))
        before = self.breaker.state
        current = generation == self.breaker.generation
        opened = self.breaker.failed(generation, "slow", count)
        assert opened == (before is not self.breaker.state)
        assert not opened or (current and before is S.CLOSED)

    @rule(data=st.data(), count=st.integers(1, 20))
    def succeeds(self, data, count):
        before = (self.breaker.state, self.breaker.generation)
        self.breaker.succeeded(data.draw(st.sampled_from(self.held)), count)
        assert before == (self.breaker.state, self.breaker.generation)

    @rule(seconds=st.floats(0, 30))
    def passes_time(self, seconds):
        self.clock.advance(seconds)

    @invariant()
    def never_wedges(self):
        reached, edge = {self.breaker.state}, [self.breaker.state]
        while edge:
            for target in TRANSITIONS[edge.pop()].values():
                if target not in reached:
                    reached.add(target)
                    edge.append(target)
        assert S.CLOSED in reached

    @invariant()
    def admits_exactly_when_closed(self):
        assert self.breaker.closed is (self.breaker.state is S.CLOSED)


TestAnyOrder = Circuit.TestCase
TestAnyOrder.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None, database=None)
