"""Hybrid clocks: stamps rise whatever clocks do, stay near the time of some clock, and sort as what they mean."""

from __future__ import annotations

import copy

import hypothesis.strategies as st
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from polly_state.stamps import MAX_LEAD, STEP, HybridClock, is_stamp, time_of
from polly_state.testing import Clock

START = 1_700_000_000.0
ORIGINS = ("0000000a", "0000000b", "ffffffff")
MILLISECOND = 0.001
writers = st.integers(0, len(ORIGINS) - 1)


class Clocks(RuleBasedStateMachine):
    """Three writers, whose wall clocks are wrong, and one Redis, whose clock is set now and then."""

    def __init__(self):
        super().__init__()
        self.time, self.server_offset = Clock(1000.0), START
        # What a wall clock shows is only asked for once.
        self.clocks = [
            HybridClock(origin, wall=lambda wrong=wrong: START + 1000.0 + wrong, monotonic=self.time)
            for origin, wrong in zip(ORIGINS, (0.0, -7200.0, 40.0), strict=True)
        ]
        self.given = [[] for _ in ORIGINS]
        self.quickest = [float("inf")] * len(ORIGINS)
        self.latest = max(clock.now() for clock in self.clocks)

    def server_time(self):
        return self.time() + self.server_offset

    @rule(writer=writers, count=st.integers(1, 4))
    def gives_stamps(self, writer, count):
        for _ in range(count):
            stamp = self.clocks[writer].stamp()
            assert is_stamp(stamp)
            assert stamp.endswith(ORIGINS[writer])
            assert not self.given[writer] or self.given[writer][-1] < stamp
            assert time_of(stamp) >= self.clocks[writer].now() - MILLISECOND
            self.given[writer].append(stamp)

    @rule(seconds=st.sampled_from([0.0, 0.0004, 0.001, 0.5, 60.0]))
    def time_passes(self, seconds):
        self.time.advance(seconds)

    @rule(step=st.sampled_from([-86_400.0, -200.0, -1.0, -0.03, 0.03, 1.0, 200.0, 3600.0]))
    def the_servers_clock_is_set(self, step):
        self.server_offset += step

    @rule(writer=writers, round_trip=st.sampled_from([0.0001, 0.001, 0.02, 0.2]), share=st.floats(0, 1))
    def the_server_is_asked_for_its_time(self, writer, round_trip, share):
        clock = self.clocks[writer]
        self.time.advance(round_trip * share)
        server_time = self.server_time()
        self.time.advance(round_trip * (1 - share))
        clock.follow(server_time, round_trip)
        quick = round_trip <= self.quickest[writer]
        self.quickest[writer] = min(self.quickest[writer], round_trip)
        away = abs(clock.now() - self.server_time())
        assert away <= round_trip / 2 + (0.0 if quick else STEP) + 1e-6

    @rule(writer=writers, by=writers, data=st.data())
    def a_stamp_of_another_is_seen(self, writer, by, data):
        if self.given[by]:
            self.sees(writer, data.draw(st.sampled_from(self.given[by])))

    @rule(writer=writers, ahead=st.sampled_from([-1e6, 0.0, MAX_LEAD - 1, MAX_LEAD + 1, 1e9]))
    def a_strange_stamp_is_seen(self, writer, ahead):
        milliseconds = int((self.clocks[writer].now() + ahead) * 1000)
        self.sees(writer, f"{milliseconds:012x}ffff99999999")

    def sees(self, writer, stamp):
        clock = self.clocks[writer]
        unaware = copy.copy(clock)
        ahead = time_of(stamp) - clock.now()
        followed = clock.see(stamp)
        assert followed == (ahead <= MAX_LEAD)
        following = copy.copy(clock).stamp()
        if followed:
            assert following[:16] > stamp[:16]
        else:
            assert following == unaware.stamp()

    @invariant()
    def no_stamp_is_further_ahead_than_is_followed(self):
        self.latest = max(self.latest, *(clock.now() for clock in self.clocks))
        for given in self.given:
            assert not given or time_of(given[-1]) <= self.latest + MAX_LEAD + MILLISECOND

    @invariant()
    def texts_sort_as_times_counters_and_origins(self):
        stamps = [stamp for given in self.given for stamp in given[-20:]]
        assert len(set(stamps)) == len(stamps)
        assert sorted(stamps) == sorted(stamps, key=lambda each: (time_of(each), int(each[12:16], 16), each[16:]))


TestClocks = Clocks.TestCase
TestClocks.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
)
