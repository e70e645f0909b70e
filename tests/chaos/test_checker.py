"""The checker finds what it is there for; it would be worth nothing otherwise."""

from __future__ import annotations

import pytest

from tests.chaos.checker import check
from tests.chaos.history import Call, Past

FIGURES = {"pending": 0}


def call(kind, key, value=None, *, began=0.0, ended=1.0, result=None, label="REMOTE", error=None, maybe=False):
    made = Call(began, kind, key, value)
    made.ended, made.result, made.label, made.error, made.maybe = ended, result, label, error, maybe
    return made


def judged(calls, contents, *, figures=FIGURES, **parts):
    return check([Past(calls, [], figures)], contents, **parts)


def unknown(kind, key, value=None, **parts):
    return call(kind, key, value, error="DeadlineExceeded", maybe=True, **parts)


def test_what_was_told_and_is_there_is_fine():
    calls = [
        call("register", "a", "1"),
        call("read", "a", result="1", label="redis"),
        call("patch", "h", {"f": "1"}),
        call("toggle", "s", "f", result=True),
        call("add", "c", 1, result=1),
        call("shared", "k", "1"),
    ]
    contents = {
        "registers": {"a": "1"},
        "fields": {"h": {"f": "1"}},
        "switches": {"s": {"f": True}},
        "counters": {"c": 1},
        "shared": {"k": "1"},
    }
    verdict = judged(calls, contents)
    assert (verdict.acked, verdict.lost, verdict.doubled, verdict.stale, verdict.false_labels) == (5, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("calls", "contents"),
    [
        ([call("register", "a", "1")], {}),
        ([call("register", "a", "1"), call("register", "a", "2")], {"registers": {"a": "1"}}),
        ([unknown("register", "a", "1"), call("register", "a", "2")], {"registers": {"a": "1"}}),
        ([call("register", "a", "1", error="CircuitOpen")], {"registers": {"a": "1"}}),
        ([call("patch", "h", {"f": "1"})], {"fields": {"h": {"g": "1"}}}),
        ([call("toggle", "s", "f", result=True)], {"switches": {"s": {"f": False}}}),
        ([call("add", "c", 1), call("add", "c", 1)], {"counters": {"c": 1}}),
        ([call("shared", "k", "1")], {}),
        ([call("member", "s", {"m": True})], {}),
        ([call("member", "s", {"m": False})], {"sets": {"s": {"m": True}}}),
        ([call("append", "l", "1"), call("append", "l", "2")], {"log": {"l": ["2"]}}),
        ([call("append", "l", "1"), call("append", "l", "2")], {"log": {"l": ["2", "1"]}}),
        ([call("put", "q", "1")], {"queue": {"q": []}}),
        ([call("shared", "k", "1")], {"shared": {"k": "0"}}),
        ([call("shared", "k", "1"), call("shared", "k", "2", began=2.0, ended=3.0)], {"shared": {"k": "1"}}),
    ],
)
def test_a_lost_write_is_found(calls, contents):
    assert judged(calls, contents).lost == 1


def test_an_addition_that_counted_twice_is_found():
    calls = [call("add", "c", 1), unknown("add", "c", 1)]
    assert [judged(calls, {"counters": {"c": value}}).doubled for value in (1, 2, 3)] == [0, 0, 1]


@pytest.mark.parametrize(("kind", "family"), [("append", "log"), ("put", "queue")])
def test_what_is_there_twice_or_was_refused_is_found(kind, family):
    told, refused = call(kind, "k", "1"), call(kind, "k", "2", error="CircuitOpen")
    held = (["1"], ["1", "1"], ["1", "2"], ["1", "3"])
    assert [judged([told, refused], {family: {"k": each}}).doubled for each in held] == [0, 1, 1, 1]
    assert judged([unknown(kind, "k", "1")], {}).lost == 0


def test_an_unknown_outcome_may_be_either():
    calls = [call("register", "a", "1"), unknown("register", "a", "2")]
    assert [judged(calls, {"registers": {"a": value}}).lost for value in ("1", "2", "3")] == [0, 0, 1]


def test_two_writes_at_once_may_end_either_way():
    calls = [call("shared", "k", "1"), call("shared", "k", "2", began=1.01, ended=3.0)]
    assert [judged(calls, {"shared": {"k": value}}).lost for value in ("1", "2")] == [0, 0]


def test_a_read_of_less_than_ones_own_write_is_found():
    calls = [call("register", "a", "1"), call("register", "a", "2"), call("read", "a", result="1", label="mirror")]
    assert judged(calls, {"registers": {"a": "2"}}).stale == 1


def test_a_default_for_what_is_known_is_found():
    calls = [call("register", "a", "1"), call("read", "a", label="default")]
    assert judged(calls, {"registers": {"a": "1"}}).stale == 1


def test_an_old_value_that_is_said_to_come_from_redis_is_found():
    calls = [
        call("shared", "k", "1"),
        call("shared", "k", "2", began=2.0, ended=3.0),
        call("look", "k", began=4.0, ended=5.0, result="1", label="redis"),
    ]
    contents = {"shared": {"k": "2"}}
    assert judged(calls, contents).false_labels == 1
    assert judged(calls, contents, linear=False).false_labels == 0


@pytest.mark.parametrize(("label", "lost"), [("LOCAL_VOLATILE", 0), ("LOCAL_DURABLE", 1), ("REMOTE", 1)])
def test_only_what_was_kept_in_memory_may_end_with_its_process(label, lost):
    assert judged([call("register", "a", "1", label=label)], {}, figures=None).lost == lost
