"""The journal: what was acked is kept until Redis has it, whatever crashes, and what finds no room is refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from polly_state.commands import PatchFields, stamp_of
from polly_state.commands.endings import TTL
from polly_state.errors import LocalStoreFull
from polly_state.keyspace import Keyspace
from polly_state.stamps import HybridClock
from polly_state.store.journal import weight
from polly_state.store.memory_journal import MemoryJournal
from polly_state.store.sqlite_journal import LEASE, SqliteJournal
from polly_state.testing import Clock
from tests.models.writers import (
    COUNTERS,
    FIELDS,
    HASHES,
    SHORT,
    Totals,
    append,
    clear,
    contents,
    deliver,
    enqueue,
    held,
    member,
    patch,
    register,
    touch,
    twin,
)

pytestmark = pytest.mark.blocking

MAX_ENTRIES, MAX_BYTES = 7, 2200
KINDS = (register, patch, clear, touch, member, append, enqueue, None)
HOLDERS = ("one", "two")


class Journaled(RuleBasedStateMachine):
    """Redis, and beside it all that was ever acked: what Redis lacks of that is in the journal."""

    def __init__(self):
        super().__init__()
        self.time = Clock()
        self.clock = HybridClock("aaaaaaaa", wall=self.time, monotonic=self.time)
        self.redis, self.acked = Keyspace(clock=self.time), Keyspace(clock=self.time)
        self.totals, self.spare, self.sent = Totals(), [], []
        self.journal = self.opened()

    def write(self, data):
        kind = data.draw(st.sampled_from(KINDS))
        if kind is None:
            key, origin = data.draw(st.sampled_from(COUNTERS)), data.draw(st.sampled_from(["00000001", "00000002"]))
            command = self.totals.add(key, self.clock.stamp(), origin, data.draw(st.sampled_from([1, 5, -2])))
        else:
            command = kind(data.draw, self.clock.stamp())
        if self.spare and data.draw(st.integers(0, 5)) == 0:
            return command.restamped(self.spare.pop())
        return command

    @rule(data=st.data(), count=st.integers(1, 3))
    def is_written_to(self, data, count):
        self.takes(*(self.write(data) for _ in range(count)))

    @rule(data=st.data(), kind=st.sampled_from([register, patch]))
    def a_write_is_overtaken(self, data, kind):
        early = self.clock.stamp()
        late = kind(data.draw, self.clock.stamp())
        self.takes(late)
        content = data.draw(contents)
        parts = {"changes": dict.fromkeys(late.changes, content)} if kind is patch else {"content": content}
        self.takes(replace(late, stamp=early, **parts))

    @rule(field=st.sampled_from(FIELDS))
    def a_mapping_lives_on(self, field):
        self.time_passes(SHORT * 0.6)
        self.takes(PatchFields(HASHES[0], self.clock.stamp(), {field: b"1"}, SHORT))

    def takes(self, *commands):
        before, acked = self.content(), twin(self.acked)
        kept = [each for each in commands if self.is_kept(each, acked)]
        room = len(before) + len(kept) <= MAX_ENTRIES
        room = room and sum(weight(row.command) for row in before) + sum(map(weight, kept)) <= MAX_BYTES
        try:
            self.record(kept)
        except LocalStoreFull:
            assert not room
            assert before == self.content()
            for each in commands:
                if hasattr(each, "total"):
                    self.totals.take_back(each)
        else:
            self.acked = acked
            if kept and kept[-1].sweeps:
                rows = self.journal.pending(kept[-1].key)
                assert min(stamp_of(row.command) for row in rows) >= kept[-1].stamp

    def record(self, commands):
        with self.journal.writing():
            self.journal.record(commands, self.time())

    def is_kept(self, command, acked):
        """Whether it may be kept; what comes too late may, and changes nothing."""
        deliver(command, acked)
        entry = acked.entry(command.key)
        if command.slot == TTL:
            return entry is not None and entry.present
        return True

    @rule()
    def a_stamp_is_given_out_and_used_later(self):
        self.spare.append(self.clock.stamp())

    @rule(seconds=st.sampled_from([0.001, 0.5, SHORT * 0.6]))
    def time_passes(self, seconds):
        now, here, there = self.time() + seconds, held(self.acked), held(self.redis)
        ends = {key: (end, here[key][1] if key in here else 0.0) for key, (_, end) in there.items() if end is not None}
        # What Redis lets go because the write that prolonged it has not come yet, nobody can bring back.
        if all(end > now or (acked is not None and acked <= now) for end, acked in ends.values()):
            self.time.advance(seconds)

    @rule(size=st.integers(1, 10))
    def is_sent(self, size):
        self.sent = self.journal.batch(size)
        for row in self.sent:
            deliver(row.command, self.redis)

    @rule()
    def replies_come(self):
        self.journal.settle(self.sent)

    @rule()
    def is_tidied(self):
        self.journal.upkeep(None)

    @rule()
    def redis_is_wiped_on_purpose(self):
        self.time.advance(0.001)
        self.journal.forget(self.time())
        self.redis.clear()
        self.acked.clear()
        self.sent = []
        assert self.content() == []

    @invariant()
    def what_redis_lacks_is_kept(self):
        redis = twin(self.redis)
        for row in self.content():
            deliver(row.command, redis)
        assert held(self.acked) == held(redis)

    @invariant()
    def keeps_within_its_bounds(self):
        rows = self.content()
        assert (len(rows), sum(weight(row.command) for row in rows)) == self.journal.statistics()[:2]
        assert len(rows) == len(self.journal)
        assert len(rows) <= MAX_ENTRIES
        assert self.journal.statistics().bytes <= MAX_BYTES

    @invariant()
    def keeps_one_write_for_each_slot_oldest_first(self):
        rows = self.content()
        assert len({(row.command.key, row.command.slot) for row in rows}) == len(rows)
        for key in {row.command.key for row in rows}:
            assert key in self.journal
            numbers = [row.number for row in rows if row.command.key == key]
            assert numbers == sorted(numbers) == [row.number for row in self.journal.pending(key)]

    def content(self):
        return self.journal.batch(1000)

    def teardown(self):
        self.journal.close()


class InMemory(Journaled):
    def opened(self):
        return MemoryJournal(MAX_ENTRIES, MAX_BYTES)


class OnDisk(Journaled):
    """Two processes on one file, either of which may end at any time."""

    def opened(self):
        self.folder = Path(tempfile.mkdtemp(prefix="journal-"))
        self.generation = self.given_up = 0
        self.lease, self.wall = ("", 0.0), Clock()
        return self.opened_at(self.folder / "0")

    def opened_at(self, place):
        self.place = place
        self.other = self.process()
        self.shown = {id(self.other): set()}
        journal = self.process()
        self.shown[id(journal)] = set()
        return journal

    def process(self):
        return SqliteJournal(self.place / "journal.db", max_entries=MAX_ENTRIES, max_bytes=MAX_BYTES, wall=self.wall)

    def record(self, commands):
        with self.journal.writing():
            self.take_news()
            before = {row.number for row in self.content()}
            self.journal.record(commands, self.time())
            own = {row.number for row in self.content()} - before
        self.shown[id(self.journal)] |= own

    @rule()
    def take_news(self):
        shown = self.shown[id(self.journal)]
        news = [row.number for row in self.journal.news()]
        assert news == sorted(set(news))
        assert not shown & set(news)
        shown.update(news)
        assert {row.number for row in self.content()} <= shown

    @rule()
    def the_other_process_has_its_turn(self):
        self.journal, self.other = self.other, self.journal

    @rule()
    def is_closed_and_opened_again(self):
        expected = self.content()
        self.journal.close()
        self.other.close()
        self.journal = self.opened_at(self.place)
        assert expected == self.content()
        self.sent = []

    @rule(data=st.data())
    def both_processes_are_killed_while_one_writes(self, data):
        expected, place = self.content(), self.folder / str(self.generation + 1)
        self.generation += 1
        spare = list(self.spare)
        with suppress(LocalStoreFull, Killed), self.journal.writing():
            command = self.write(data)
            if hasattr(command, "total"):
                self.totals.take_back(command)
            self.journal.record((command,), self.time())
            # What the kernel has of the files when a process is gone; the shared memory is made anew.
            shutil.copytree(self.place, place, ignore=shutil.ignore_patterns("*-shm"))
            raise Killed
        self.spare = spare
        if not place.exists():
            return
        self.journal.close()
        self.other.close()
        self.journal = self.opened_at(place)
        assert expected == self.content()
        self.sent = []

    @precondition(lambda self: len(self.journal))
    @rule(data=st.data())
    def one_is_given_up_and_taken_back(self, data):
        self.take_news()
        row = data.draw(st.sampled_from(self.content()))
        self.journal.bury(row, "OOM", self.time())
        assert row.number not in {each.number for each in self.content()}
        [dead] = self.journal.dead()
        assert (row, "OOM") == dead[:2]
        assert self.journal.statistics().dead == 1
        assert self.journal.revive(self.time()) == 1
        assert self.journal.dead() == []
        self.shown[id(self.journal)] |= {each.number for each in self.content()}

    @rule()
    def is_tidied_by_its_only_keeper(self):
        self.journal.upkeep(self.time())

    @rule(holder=st.sampled_from(HOLDERS), step=st.sampled_from([0.0, LEASE / 2, LEASE * 2, -3600.0]))
    def one_alone_replays(self, holder, step):
        self.wall.turn_to(self.wall() + step)
        held_by, until = self.lease
        granted = self.journal.lease_replay(holder)
        assert granted == (holder == held_by or not self.wall() <= until <= self.wall() + LEASE)
        if granted:
            self.lease = (holder, self.wall() + LEASE)

    @invariant()
    def both_processes_see_the_same(self):
        assert self.content() == self.other.batch(1000)
        assert self.journal.statistics() == self.other.statistics()

    def teardown(self):
        self.journal.close()
        self.other.close()
        shutil.rmtree(self.folder)


class Killed(Exception):
    pass


PROFILE = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
)
TestInMemory, TestOnDisk = InMemory.TestCase, OnDisk.TestCase
TestInMemory.settings = TestOnDisk.settings = PROFILE

WRITER = """
import sys
from pathlib import Path
from polly_state.commands import SetRegister
from polly_state.stamps import HybridClock
from polly_state.store.sqlite_journal import SqliteJournal

clock = HybridClock("aaaaaaaa")
journal = SqliteJournal(Path(sys.argv[1]), max_entries=1_000_000, max_bytes=1 << 30)
number = 0
while True:
    with journal.writing():
        journal.record((SetRegister(f"n:r:{{{number}}}", clock.stamp(), b"%d" % number),), clock.now())
    print(number, flush=True)
    number += 1
"""


@pytest.mark.parametrize("acks", [1, 50, 400])
def test_what_was_acked_before_a_kill_is_there_after_it(tmp_path, acks):
    path = tmp_path / "state" / "journal.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as writer:
        acked = [int(writer.stdout.readline()) for _ in range(acks)]
        os.kill(writer.pid, signal.SIGKILL)
        acked += map(int, writer.stdout.read().split())
    journal = SqliteJournal(path, max_entries=1_000_000, max_bytes=1 << 30)
    found = [int(row.command.content) for row in journal.batch(1_000_000)]
    journal.close()
    assert acked == found[: len(acked)]
    assert len(found) - len(acked) <= 1
