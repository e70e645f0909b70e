"""Both journals: of the same writes, in whatever order, they keep the same, which ends at the same time."""

from __future__ import annotations

import random

import pytest

from polly_state.commands import Add, ClearFields, PatchFields, SetRegister, Touch, stamp_of
from polly_state.stamps import HybridClock
from polly_state.store.memory_journal import MemoryJournal
from polly_state.store.sqlite_journal import SqliteJournal
from polly_state.testing import Clock

pytestmark = pytest.mark.blocking

WRITES = 24


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory):
    path = tmp_path_factory.mktemp("journals") / "state" / "polly.sqlite3"
    journal = SqliteJournal(path, max_entries=1000, max_bytes=1 << 20)
    yield journal
    journal.close()


def write(chance, stamp, total):
    kind, ttl = chance.randrange(8), chance.choice([None, 2.0, 5.0, 11.0])
    if kind == 0:
        return ClearFields("h", stamp)
    if kind == 1:
        return Touch("r", stamp, chance.choice([2.0, 11.0]))
    if kind == 2:
        return SetRegister("r", stamp, chance.choice([None, b"1"]), ttl, keep_ttl=chance.random() < 0.3)
    if kind == 3:
        return Add("c", stamp, chance.choice(["00000001", "00000002"]), total, 1, ttl)
    return PatchFields("h", stamp, {chance.choice("abcd"): chance.choice([None, b"1"])}, ttl)


def content(journal):
    """What is kept for each slot, and when it ends, without what a later clear makes moot."""
    rows = [row.command for row in journal.batch(1000)]
    cleared = max((each.stamp for each in rows if isinstance(each, ClearFields)), default="")
    return {
        (each.key, each.slot): (stamp_of(each), round(each.expires_at or 0.0, 2))
        for each in rows
        if each.key != "h" or each.stamp >= cleared
    }


@pytest.mark.parametrize("seed", [*range(200), 520, 2026])
def test_they_keep_the_same(on_disk, seed):
    chance, time, spare = random.Random(seed), Clock(), []
    clock = HybridClock("aaaaaaaa", wall=time, monotonic=time)
    in_memory = MemoryJournal(1000)
    on_disk.drop(dead=False)
    for total in range(1, WRITES + 1):
        time.advance(chance.choice([0.001, 0.001, 0.001, 1.0, 3.0]))
        spare.append(clock.stamp())
        stamp = spare.pop(chance.randrange(len(spare))) if chance.random() < 0.2 else clock.stamp()
        command = write(chance, stamp, total)
        if isinstance(command, (Add, ClearFields)):
            # Totals and stamps of one origin rise together, and what a clear makes moot may end at any time.
            command = command.restamped(clock.stamp())
        for journal in (in_memory, on_disk):
            with journal.writing():
                journal.record(command.settled(True, command.stamp), time())
        if chance.random() < 0.2:
            assert content(in_memory) == content(on_disk)
        if chance.random() < 0.1:
            for journal in (in_memory, on_disk):
                # A clear stays, to tell what it makes moot.
                kept = [row for row in journal.pending(command.key) if not isinstance(row.command, ClearFields)]
                journal.settle(kept[:1])
    assert content(in_memory) == content(on_disk)


@pytest.mark.parametrize("journal", ["memory", "disk"])
def test_a_batch_passes_over_whole_keys(journal, on_disk):
    clock = HybridClock()
    journal = MemoryJournal(1000) if journal == "memory" else on_disk
    on_disk.drop(dead=False)
    with journal.writing():
        for key in ("a", "b", "c"):
            changes = {"x": b"1", "y": b"2"}
            journal.record([PatchFields(key, clock.stamp(), {name: changes[name]}, None) for name in changes], 1.0)
    assert [row.command.key for row in journal.batch(4)] == ["a", "a", "b", "b"]
    assert [row.command.key for row in journal.batch(3, {"a"})] == ["b", "b", "c"]
    assert [row.command.key for row in journal.batch(9, ["c", "a", "z"])] == ["b", "b"]
    assert journal.batch(9, {"a", "b", "c"}) == []
