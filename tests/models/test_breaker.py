"""The circuits and their recovery, in virtual time: never wedged, one probe at a time, and no late outcome counts."""

from __future__ import annotations

import asyncio
import selectors
from contextlib import suppress

import hypothesis.strategies as st
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from polly_state.connection.breaker import CircuitBreaker, CircuitState, Happening
from polly_state.connection.circuits import Circuits
from polly_state.connection.recovery import Recovery
from polly_state.connection.replies import ReplyError
from polly_state.errors import AuthenticationFailed, CircuitOpen, StoreUnavailable
from polly_state.settings import BreakerSettings
from polly_state.testing import Clock

S, H = CircuitState, Happening
OPERATION = 0.25
BREAKER = BreakerSettings()
WELL, SILENT, REFUSING, WRONG_PASSWORD, OUT_OF_MEMORY = "well", "silent", "refusing", "wrong password", "out of memory"


class Eager(selectors.DefaultSelector):
    """Waits for nothing: the time that would have passed has."""

    def __init__(self):
        super().__init__()
        self.now = 1000.0

    def select(self, timeout=None):
        self.now += timeout or 0.0
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self._eager = Eager()
        super().__init__(self._eager)

    def time(self):
        return self._eager.now


class Server:
    """What a Redis does with a probe and a new connection, by its *mood*."""

    def __init__(self):
        self.mood = WELL
        self.probes = self.most = self.begun = 0

    async def probe(self):
        self.begun += 1
        self.probes += 1
        self.most = max(self.most, self.probes)
        try:
            await self.reached()
        finally:
            self.probes -= 1
        return ReplyError("OOM command not allowed") if self.mood == OUT_OF_MEMORY else None

    async def reached(self):
        await asyncio.sleep(OPERATION if self.mood == SILENT else 0.001)
        if self.mood in (SILENT, REFUSING):
            raise StoreUnavailable("no answer")
        if self.mood == WRONG_PASSWORD:
            raise AuthenticationFailed("wrong password")


class Recovering(RuleBasedStateMachine):
    """A server of changing moods, callers whose outcomes come late, and a canary that may be cancelled."""

    def __init__(self):
        super().__init__()
        self.loop = VirtualLoop()
        self.server = Server()
        self.circuits = Circuits(BREAKER, lambda _: None)
        self.recovery = Recovery(self.circuits, self.server, BREAKER, self.connect)
        self.circuits.on_change.append(self.recovery.begin)
        self.admitted = [0]

    async def connect(self):
        await self.server.reached()
        if self.circuits.link.state not in (S.CLOSED, S.PROBING):
            raise self.circuits.refusal()
        self.circuits.fault = None
        if self.circuits.link.happen(H.PROBE_SUCCEEDED, "Redis answers"):
            self.circuits.changed(self.circuits.link)

    def run(self, action=lambda: None, seconds=0.0):
        async def act():
            action()
            await asyncio.sleep(seconds)

        self.loop.run_until_complete(act())

    @rule(mood=st.sampled_from([WELL, WELL, SILENT, REFUSING, WRONG_PASSWORD, OUT_OF_MEMORY]))
    def the_server_is(self, mood):
        self.server.mood = mood

    @rule(seconds=st.sampled_from([0.0, 0.0005, 0.1, 0.25, 1.0, 60.0]))
    def time_passes(self, seconds):
        self.run(seconds=seconds)

    @rule()
    def a_call_is_admitted(self):
        link = self.circuits.link
        if link.closed:
            self.admitted.append(link.admit())
        else:
            with suppress(CircuitOpen):
                link.admit()
                raise AssertionError("admitted by an open circuit")

    @precondition(lambda self: self.admitted)
    @rule(data=st.data(), count=st.sampled_from([1, 6]), how=st.sampled_from(["answered", "unanswered", "cut off"]))
    def outcomes_come(self, data, count, how):
        generation = data.draw(st.sampled_from(self.admitted))
        link = self.circuits.link
        before = (link.state, link.generation)
        stale = generation != link.generation
        match how:
            case "answered":
                link.succeeded(generation, count)
            case "unanswered":
                self.run(lambda: self.circuits.failed(generation, "no answer", count))
            case "cut off":
                self.run(lambda: self.circuits.trip("cut off", generation=generation))
        if stale or how == "answered":
            # Time may not have passed, so nothing else has changed it.
            assert before == (link.state, link.generation)
        elif how == "cut off":
            assert link.state is S.OPEN

    @rule()
    def writes_are_refused(self):
        self.run(lambda: self.circuits.refuse_writes("OOM"))

    @rule()
    def a_fault_is_found(self):
        self.run(lambda: self.circuits.found(AuthenticationFailed("wrong password")))

    @rule()
    def is_isolated(self):
        self.run(lambda: self.circuits.isolate("by hand"))

    @rule()
    def is_released(self):
        self.run(self.circuits.release)

    def probing(self):
        """Wait for a probe that gets no answer yet; whether there is one."""
        self.server.mood = SILENT
        for _ in range(200):
            if self.server.probes or self.circuits.settled:
                break
            self.run(seconds=0.2)
        return self.server.probes > 0

    @rule()
    def the_canary_is_cancelled_in_a_probe(self):
        if not self.probing():
            return
        task = self.recovery._task
        self.run(task.cancel)
        self.run()
        assert task.done()
        assert S.PROBING not in (self.circuits.link.state, self.circuits.write.state)
        assert self.server.probes == 0
        self.run(self.recovery.begin)

    @rule(then=st.sampled_from([WELL, SILENT]), released=st.booleans())
    def more_happens_in_a_probe(self, then, released):
        if not self.probing():
            return
        self.run(lambda: self.circuits.refuse_writes("OOM"))
        if released:
            self.run(lambda: self.circuits.isolate("by hand"))
            self.run(self.circuits.release)
        self.server.mood = then
        self.run(seconds=0.3)

    @rule()
    def a_well_server_is_used_again(self):
        self.server.mood = WELL
        self.run(self.circuits.release)
        # A probe under way, the longest wait for the next one, that one, and a connection.
        wait = BREAKER.probe_delay_misconfigured if self.circuits.fault else BREAKER.probe_delay_cap
        self.run(seconds=2 * OPERATION + 1.2 * wait + 0.1)
        assert self.circuits.link.closed
        assert self.circuits.write.closed
        assert self.circuits.fault is None
        begun = self.server.begun
        self.run(seconds=100.0)
        assert begun == self.server.begun

    @invariant()
    def one_probe_at_a_time(self):
        assert self.server.most <= 1

    @invariant()
    def whatever_is_open_is_being_probed(self):
        assert self.circuits.settled or not self.recovery._task.done()

    @invariant()
    def half_open_only_during_a_probe(self):
        if S.PROBING in (self.circuits.link.state, self.circuits.write.state):
            assert not self.recovery._task.done()

    def teardown(self):
        try:
            self.loop.run_until_complete(self.recovery.aclose())
            assert S.PROBING not in (self.circuits.link.state, self.circuits.write.state)
        finally:
            self.loop.close()


class Counting(RuleBasedStateMachine):
    """What opens a closed circuit: so many failures in a row, or so large a share of the window's outcomes."""

    def __init__(self):
        super().__init__()
        self.time = Clock(5000.0)
        self.breaker = CircuitBreaker("link", BREAKER, clock=self.time)
        self.forget()

    def forget(self):
        self.outcomes, self.in_a_row = [], 0

    @rule(seconds=st.sampled_from([0.01, 0.5, 1.0, 3.0, 9.5, 11.0]))
    def time_passes(self, seconds):
        self.time.advance(seconds)

    @rule(count=st.sampled_from([1, 1, 4]))
    def answers_come(self, count):
        self.breaker.succeeded(self.breaker.generation, count)
        self.in_a_row = 0
        self.note(count, failures=0)

    @rule(count=st.sampled_from([1, 4, 4]))
    def answers_fail_to_come(self, count):
        self.in_a_row += count
        self.note(count, failures=count)
        # The window moves on by a tenth at a time.
        tenth = BREAKER.window / 10
        newest = int(self.time() / tenth)
        live = [(all_, failed) for at, all_, failed in self.outcomes if int(at / tenth) > newest - 10]
        made, failed = sum(each[0] for each in live), sum(each[1] for each in live)
        mostly = made >= BREAKER.minimum_outcomes and failed >= made * BREAKER.failure_ratio
        expected = self.in_a_row >= BREAKER.consecutive_failures or mostly
        assert expected == self.breaker.failed(self.breaker.generation, "no answer", count)
        assert expected is not self.breaker.closed
        if expected:
            self.breaker.happen(H.PROBE_STARTED)
            self.breaker.happen(H.PROBE_SUCCEEDED)
            self.forget()

    @rule(after=st.sampled_from([0.0, 9.5, 11.0]))
    def most_answers_fail_to_come(self, after):
        self.time_passes(after)
        self.answers_come(1)
        self.answers_fail_to_come(4)

    def note(self, count, failures):
        self.outcomes.append((self.time(), count, failures))


PROFILE = settings(
    max_examples=300,
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
)
TestRecovering, TestCounting = Recovering.TestCase, Counting.TestCase
TestRecovering.settings = TestCounting.settings = PROFILE
