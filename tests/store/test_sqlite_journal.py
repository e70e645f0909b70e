"""The journal on disk: private, bounded, shared, and never trusted further than it can be read."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest

from polly_state import ConfigurationError, LocalStoreFull, StoreUnavailable
from polly_state.commands import Add, ClearFields, PatchFields, SetRegister
from polly_state.stamps import HybridClock
from polly_state.store.journal import JournalBusy
from polly_state.store.memory_journal import MemoryJournal
from polly_state.store.sqlite_journal import SqliteJournal
from polly_state.testing import Clock

pytestmark = pytest.mark.blocking

NOW = 1_700_000_000.0
clock = HybridClock("aaaaaaaa")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "polly.sqlite3"


@pytest.fixture
def journal(path):
    journal = opened(path)
    yield journal
    journal.close()


def opened(path, max_entries=100, max_bytes=1 << 20, **parts):
    return SqliteJournal(path, max_entries=max_entries, max_bytes=max_bytes, **parts)


def write(key="k", content=b"1", **parts):
    return SetRegister(key, clock.stamp(), content, **parts)


def record(journal, *commands, now=NOW):
    with journal.writing():
        journal.record(commands, now)


def commands(journal):
    return [row.command for row in journal.batch(1000)]


def test_what_is_kept_is_there_after_a_restart(path):
    kept = [
        write(content=b"\x00\xff", ttl=2.5),
        write("gone", None),
        PatchFields("h", clock.stamp(), {"ä": b"1", "b": None}),
        Add("c", clock.stamp(), "bbbbbbbb", 7, 3, ttl=1.0),
    ]
    journal = opened(path)
    record(journal, *kept)
    journal.close()
    again = opened(path)
    assert kept == commands(again)
    assert len(again) == again.statistics().entries == 4
    again.close()


def test_a_slot_holds_the_newest_write_only(journal):
    old, new, other = write(), write(), write("other")
    record(journal, new)
    record(journal, old, other)
    assert [new, other] == commands(journal)


def test_a_clear_sweeps_what_is_older(journal):
    before = PatchFields("h", clock.stamp(), {"a": b"1"})
    clear = ClearFields("h", clock.stamp())
    after = PatchFields("h", clock.stamp(), {"b": b"1"})
    record(journal, before, after, clear)
    assert {after, clear} == set(commands(journal))


def test_totals_of_one_origin_are_one_row(journal):
    adds = [Add("c", clock.stamp(), "bbbbbbbb", total, total - total // 2) for total in (1, 2, 4)]
    record(journal, *adds)
    (found,) = commands(journal)
    assert (found.total, found.by) == (4, 4)


def test_what_took_a_place_meanwhile_is_not_settled_with_its_predecessor(journal):
    record(journal, write())
    sent = journal.batch(10)
    newer = write()
    record(journal, newer)
    journal.settle(sent)
    assert [newer] == commands(journal)


@pytest.mark.parametrize("bounds", [{"max_entries": 2}, {"max_bytes": 700}])
def test_over_a_bound_it_refuses_and_drops_nothing(path, bounds):
    journal = opened(path, **bounds)
    first, second = write("a"), write("b")
    record(journal, first, second)
    with pytest.raises(LocalStoreFull, match="journal_"):
        record(journal, write("c"), write("d"))
    newer = write("a")
    record(journal, newer)
    assert [second, newer] == commands(journal)
    journal.close()


def test_an_error_in_the_middle_keeps_nothing_of_it(journal):
    commands = [write(), None]
    with pytest.raises(AttributeError):
        record(journal, *commands)
    assert journal.statistics()[:2] == (0, 0)


def test_it_is_private_to_its_user(path, journal):
    record(journal, write())
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {0o600} == {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}


def test_a_readable_file_is_made_private(path):
    opened(path).close()
    path.chmod(0o644)
    opened(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("what", ["directory", "file"])
def test_it_follows_no_link(tmp_path, path, what):
    elsewhere = tmp_path / "elsewhere"
    if what == "directory":
        elsewhere.mkdir()
        path.parent.symlink_to(elsewhere)
    else:
        path.parent.mkdir(mode=0o700)
        elsewhere.touch()
        path.symlink_to(elsewhere)
    with pytest.raises(ConfigurationError, match="POLLY_STATE_DIR"):
        opened(path)
    assert not elsewhere.is_file() or elsewhere.read_bytes() == b""


def test_a_directory_that_others_may_write_to_is_refused(path):
    path.parent.mkdir()
    path.parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match=r"POLLY_STATE_DIR.*chmod"):
        opened(path)


def test_a_path_that_cannot_be_a_directory_is_refused(tmp_path):
    (tmp_path / "state").write_text("a file")
    with pytest.raises(ConfigurationError, match="POLLY_STATE_DIR"):
        opened(tmp_path / "state" / "polly.sqlite3")


@pytest.mark.parametrize(
    ("pragma", "match"), [("user_version = 99", "newer version"), ("application_id = 7", "something else")]
)
def test_the_file_of_something_else_or_newer_is_left_alone(path, pragma, match):
    opened(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA {pragma}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=match):
        opened(path)
    assert before == path.read_bytes()


def test_a_damaged_file_is_set_aside_and_the_next_one_is_empty(path, caplog):
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"this was never a database, whatever its name may say" * 100)
    journal = opened(path)
    record(journal, write())
    assert len(journal) == 1
    assert [path.with_name("polly.sqlite3.damaged-1")] == list(path.parent.glob("*damaged-1"))
    assert "damaged" in caplog.text
    journal.close()


def test_what_can_be_read_of_a_damaged_file_is_kept(path):
    journal = opened(path, max_entries=10_000, max_bytes=1 << 30)
    record(journal, *(write(f"k{number}", b"x" * 500) for number in range(500)))
    journal.upkeep(None)
    journal.close()
    content = bytearray(path.read_bytes())
    assert len(content) > 300_000
    content[-200_000:-190_000] = os.urandom(10_000)
    path.write_bytes(content)
    for companion in ("-wal", "-shm"):
        path.with_name(path.name + companion).unlink(missing_ok=True)
    again = opened(path, max_entries=10_000, max_bytes=1 << 30)
    assert path.with_name("polly.sqlite3.damaged-1").exists()
    assert 0 < len(again) < 500
    assert len(again) == again.statistics().entries == len(commands(again))
    again.close()


def test_who_finds_it_busy_is_told_at_once(path, journal):
    other = opened(path)
    with journal.writing():
        journal.record([write()], NOW)
        with pytest.raises(JournalBusy):
            record(other, write("b"))
    record(other, write("b"))
    assert len(journal) == 2
    other.close()


def test_the_news_are_what_others_wrote(path, journal):
    other = opened(path)
    record(journal, write("mine"))
    assert not journal.stirred() or journal.news() == []
    journal.news()
    assert not journal.stirred()
    theirs = write("theirs")
    record(other, theirs)
    assert journal.stirred()
    assert [theirs] == [row.command for row in journal.news()]
    assert not journal.stirred()
    other.close()


def test_ones_own_writes_are_no_news(journal):
    record(journal, write("a"), write("b"))
    journal.settle(journal.batch(1))
    assert not journal.stirred()
    assert journal.news() == []


def test_what_another_wrote_before_ones_own_write_is_news(path, journal):
    other = opened(path)
    theirs = write("theirs")
    record(other, theirs)
    record(journal, write("mine"))
    assert theirs in [row.command for row in journal.news()]
    other.close()


def test_what_is_told_before_it_is_committed_is_asked_for_again(path, journal, monkeypatch):
    other, theirs, seen = opened(path), write("theirs"), []
    do = journal._database.do

    def looked_at(statement, *parameters):
        if statement == "COMMIT":
            seen.append((other.stirred(), other.news()))
        return do(statement, *parameters)

    monkeypatch.setattr(journal._database, "do", looked_at)
    record(journal, theirs)
    assert seen == [(True, [])]
    assert other.stirred()
    assert [theirs] == [row.command for row in other.news()]
    other.close()


def test_one_process_at_a_time_replays(path):
    now = [NOW]
    first, second = (opened(path, wall=lambda: now[0]) for _ in range(2))
    assert first.lease_replay("one")
    assert not second.lease_replay("two")
    assert first.lease_replay("one")
    now[0] += 10
    assert second.lease_replay("two")
    now[0] -= 100_000
    # The clock was set back: a lease of then must not last until it comes again.
    assert first.lease_replay("one")
    first.close()
    second.close()


def test_what_is_given_up_can_be_looked_at_and_taken_up_again(journal):
    kept, doomed = write("kept"), write("doomed")
    record(journal, kept, doomed)
    journal.bury(journal.batch(10)[1], "WRONGTYPE", NOW)
    assert [kept] == commands(journal)
    (dead,) = journal.dead()
    assert (dead.row.command, dead.code, dead.died_at) == (doomed, "WRONGTYPE", NOW)
    assert journal.statistics().dead == 1
    assert journal.revive(NOW) == 1
    assert [kept, doomed] == commands(journal)
    assert journal.dead() == []


def test_a_row_that_cannot_be_read_is_given_up_and_the_others_are_not(path, journal):
    record(journal, write("a"), write("b"), write("c"))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE journal SET fields = '{' WHERE key = 'b'")
    connection.close()
    assert [command.key for command in commands(journal)] == ["a", "c"]
    assert (len(journal), journal.statistics().dead) == (2, 1)


def test_a_row_that_cannot_be_read_makes_room_for_a_newer_one(path, journal):
    record(journal, write("a"), write("b"))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE journal SET kind = 'Later' WHERE key = 'b'")
    connection.close()
    newer = write("b")
    record(journal, newer)
    assert commands(journal)[1:] == [newer]
    assert (len(journal), journal.statistics().dead) == (2, 0)


def test_a_disk_that_is_full_or_gone_is_an_error_and_nothing_is_kept(path):
    script = """
        import resource, sys
        from pathlib import Path
        from polly_state import LocalStoreFull
        from polly_state.commands import SetRegister
        from polly_state.stamps import HybridClock
        from polly_state.store.sqlite_journal import SqliteJournal

        clock = HybridClock()
        journal = SqliteJournal(Path(sys.argv[1]), max_entries=10**6, max_bytes=10**9)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        acked = 0
        try:
            while True:
                with journal.writing():
                    journal.record([SetRegister(f"k{acked}", clock.stamp(), b"x" * 200)], 0.0)
                acked += 1
        except LocalStoreFull:
            print(acked, len(journal), len(journal.news()))
    """
    found = subprocess.check_output([sys.executable, "-c", textwrap.dedent(script), path], text=True)
    acked, held, news = map(int, found.split())
    assert acked == held > 10
    assert news == 0
    journal = opened(path, max_entries=10**6, max_bytes=10**9)
    assert len(journal) == acked
    journal.close()


def test_a_journal_that_was_closed_says_that_it_cannot_be_used(path):
    journal = opened(path)
    journal.close()
    shutil.rmtree(path.parent)
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        record(journal, write())


def test_of_what_is_given_up_the_newest_stay_and_all_are_counted(path, monkeypatch):
    monkeypatch.setattr("polly_state.store.sqlite_journal.MAX_DEAD", 3)
    journal = opened(path)
    doomed = [write(f"k{number}") for number in range(5)]
    record(journal, *doomed)
    for number, row in enumerate(journal.batch(10)):
        journal.bury(row, "WRONGTYPE", NOW + number)
    assert [each.row.command for each in journal.dead()] == doomed[2:]
    journal.close()
    journal = opened(path)
    assert journal.statistics().dead == 5
    assert journal.drop(dead=True) == 3
    assert journal.statistics().dead == 0
    journal.close()


def test_what_is_given_up_takes_no_more_bytes_than_what_is_kept(path):
    journal = opened(path, max_bytes=5000)
    for _ in range(10):
        record(journal, write(content=b"x" * 1000))
        journal.bury(journal.batch(1)[0], "OOM", NOW)
    assert 3 <= len(journal.dead()) < 5
    assert journal.statistics().dead == 10
    journal.close()


def test_a_journal_of_the_first_version_is_taken_over(path):
    journal = opened(path)
    kept = write()
    record(journal, kept)
    journal.close()
    with sqlite3.connect(path) as connection:
        for column in ("forgotten", "turn"):
            connection.execute(f"ALTER TABLE totals DROP COLUMN {column}")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    journal = opened(path)
    newer = write("b")
    record(journal, newer)
    assert commands(journal) == [kept, newer]
    assert journal.statistics()[::2] == (2, 0)
    journal.close()
    opened(path).close()


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_what_had_ended_before_its_key_was_written_to_again_is_not_kept(path, kind):
    journal = opened(path) if kind == "disk" else MemoryJournal(100)
    time = Clock()
    clock = HybridClock("aaaaaaaa", wall=time, monotonic=time)
    old, gone = (
        PatchFields("h", clock.stamp(), {field: content}, 5.0) for field, content in (("a", b"1"), ("b", None))
    )
    first = Add("c", clock.stamp(), "bbbbbbbb", 3, 3, 5.0)
    record(journal, old, gone, first, now=time())
    time.advance(4.0)
    alive = PatchFields("h", clock.stamp(), {"c": b"1"}, 5.0)
    record(journal, alive, now=time())
    ends = [row.command.expires_at for row in journal.pending("h")]
    assert ends == [pytest.approx(alive.expires_at, abs=0.01)] * len(ends)
    time.advance(6.0)
    new, again = PatchFields("h", clock.stamp(), {"d": b"1"}, 5.0), Add("c", clock.stamp(), "bbbbbbbb", 4, 1, 5.0)
    record(journal, new, again, now=time())
    assert [list(row.command.changes) for row in journal.pending("h")] == [["b"], ["d"]]
    assert [replace(again, base=3)] == [row.command for row in journal.pending("c")]
    assert len(journal) == 3
    journal.close()


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_a_batch_is_as_large_as_is_asked_for_also_of_one_key(path, kind):
    journal = opened(path) if kind == "disk" else MemoryJournal(100)
    kept = [PatchFields("h", clock.stamp(), {f"f{number}": b"1"}) for number in range(9)]
    record(journal, *kept)
    sent = []
    while rows := journal.batch(4):
        sent.append([row.command for row in rows])
        journal.settle(rows)
    assert sent == [kept[:4], kept[4:8], kept[8:]]
    journal.close()
