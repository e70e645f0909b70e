"""`polly-state journal`: an operator sees what waits for Redis, and can act on it."""

from __future__ import annotations

import json
import stat

import pytest

from polly_state.commands import PatchFields, SetRegister
from polly_state.stamps import HybridClock
from polly_state.store.sqlite_journal import SqliteJournal
from polly_state.testing import Server

pytestmark = pytest.mark.blocking

clock = HybridClock()


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "state"


def kept(directory, *, dead=0):
    """Two writes that wait, and so many that were given up."""
    journal = SqliteJournal(directory / "polly.sqlite3", max_entries=100, max_bytes=1 << 20)
    with journal.writing():
        journal.record(
            [SetRegister(f"polly:m:{{d{number}}}", clock.stamp(), b"1") for number in range(dead)], clock.now()
        )
    for row in journal.batch(100):
        journal.bury(row, "WRONGTYPE", clock.now())
    with journal.writing():
        journal.record(
            [
                SetRegister("polly:m:{a}", clock.stamp(), b'"secret"'),
                PatchFields("polly:f:{h}", clock.stamp(), {"x": b"1"}),
            ],
            clock.now(),
        )
    journal.close()


def asked(polly, directory, *words, **variables):
    found = polly("journal", *words, "--json", POLLY_STATE_DIR=str(directory), **variables)
    assert (found.returncode, found.stderr) == (0, "")
    return json.loads(found.stdout)


def test_what_waits_is_listed_without_its_values(polly, directory):
    kept(directory, dead=1)
    listed = asked(polly, directory, "list")
    assert (listed["pending"], listed["dead"]) == (2, 1)
    assert [(row["kind"], row["key"]) for row in listed["rows"]] == [
        ("SetRegister", "polly:m:{a}"),
        ("PatchFields", "polly:f:{h}"),
    ]
    assert "secret" not in str(listed)
    (dead,) = asked(polly, directory, "list", "--dead")["rows"]
    assert (dead["key"], dead["dead"]) == ("polly:m:{d0}", "WRONGTYPE")
    assert len(asked(polly, directory, "list", "--limit", "1")["rows"]) == 1


def test_a_list_for_people(polly, directory):
    kept(directory)
    found = polly("journal", "list", POLLY_STATE_DIR=str(directory))
    assert "pending: 2" in found.stdout
    assert "SetRegister   polly:m:{a}" in found.stdout


def test_one_row_is_shown_with_its_values(polly, directory):
    kept(directory)
    number = asked(polly, directory, "list")["rows"][0]["number"]
    assert asked(polly, directory, "show", number)["fields"]["content"] == {"text": '"secret"'}
    missing = polly("journal", "show", "999", POLLY_STATE_DIR=str(directory))
    assert (
        missing.returncode,
        missing.stderr,
    ) == (1, "polly-state: there is no row 999; 'polly-state journal list' has their numbers\n")


def test_what_waits_is_sent(polly, directory, binary):
    kept(directory, dead=1)
    with Server(binary) as server:
        found = asked(polly, directory, "replay", REDIS_URL=server.url)
        assert (found["replayed"], found["pending"], found["revived"]) == (2, 0, 0)
        found = asked(polly, directory, "replay", "--dead", REDIS_URL=server.url)
        assert (found["replayed"], found["pending"], found["revived"]) == (1, 0, 1)
    assert tuple(asked(polly, directory, "list")[name] for name in ("pending", "dead")) == (0, 0)


def test_without_redis_nothing_is_sent_or_lost(polly, directory):
    kept(directory)
    found = polly("journal", "replay", POLLY_STATE_DIR=str(directory), REDIS_URL="redis://127.0.0.1:1")
    assert found.returncode == 1
    assert asked(polly, directory, "list")["pending"] == 2


def test_everything_is_exported_to_a_private_file_of_its_own(polly, directory, tmp_path):
    kept(directory, dead=1)
    file = tmp_path / "rows.jsonl"
    assert asked(polly, directory, "export", file)["exported"] == 3
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert {"polly:m:{a}", "polly:f:{h}", "polly:m:{d0}"} == {row["key"] for row in rows}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = polly("journal", "export", file, POLLY_STATE_DIR=str(directory))
    assert (again.returncode, "File exists" in again.stderr) == (1, True)


def test_only_what_is_named_is_dropped(polly, directory):
    kept(directory, dead=1)
    assert polly("journal", "drop", POLLY_STATE_DIR=str(directory)).returncode == 2
    assert asked(polly, directory, "drop", "--dead") == {"dropped": 1}
    assert asked(polly, directory, "list")["pending"] == 2
    assert asked(polly, directory, "drop", "--pending") == {"dropped": 2}
    assert asked(polly, directory, "list")["pending"] == 0


@pytest.mark.parametrize("words", [("list",), ("show", "1"), ("export", "x"), ("drop", "--dead")])
def test_without_a_journal_it_says_so_and_makes_none(polly, directory, words):
    for variables in ({}, {"POLLY_STATE_DIR": str(directory)}):
        found = polly("journal", *words, **variables)
        assert found.returncode == 1
        assert found.stderr.startswith("polly-state: POLLY_STATE_DIR: ")
    assert not directory.exists()
