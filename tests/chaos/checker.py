"""The checker: whether what Redis holds in the end, and what was read on the way, is what was acknowledged.

Of a key with one writer every state that may be is followed, call by call. A call that was acknowledged leaves one
state; one whose outcome nobody knows leaves two, and both are right.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, TypeAlias

from tests.chaos.history import Call, Past

SKEW = 0.05
"""Seconds by which the clocks of two processes may differ, so that nobody can say which write came first."""
REMOTE = "REMOTE"
VOLATILE = "LOCAL_VOLATILE"
REDIS, JOURNAL, DEFAULT = "redis", "journal", "default"

Contents: TypeAlias = Mapping[str, Mapping[str, Any]]
"""What Redis holds: for each family its ids, with a text, an integer or a mapping of fields."""


@dataclass
class Verdict:
    """What was found."""

    acked: int = 0
    indeterminate: int = 0
    refused: int = 0
    by_label: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    lost: int = 0
    doubled: int = 0
    stale: int = 0
    """Reads that gave less than the reader's own last write."""
    false_labels: int = 0
    """Reads that said of an old value that Redis has it."""
    examples: list[str] = field(default_factory=list)

    def blame(self, count: str, what: str) -> None:
        setattr(self, count, getattr(self, count) + 1)
        if len(self.examples) < 5:
            self.examples.append(f"{count}: {what}")


def check(pasts: Iterable[Past], contents: Contents, *, linear: bool = True) -> Verdict:
    """Judge the *pasts* of all workers by the *contents* in the end.

    With *linear*, a read that says it is of Redis must not be older than what anybody was told to be there before;
    a server that forgets is not asked for that much.
    """
    verdict = Verdict()
    past = list(pasts)
    for each in past:
        _count(each, verdict)
        _own(each, contents, verdict)
    calls = [call for each in past for call in each.calls]
    _counters(calls, contents.get("counters", {}), verdict)
    _shared(calls, contents.get("shared", {}), verdict, linear=linear)
    for each in past:
        _entries(each, "append", contents.get("log", {}), verdict)
    _queues(past, contents.get("queue", {}), verdict)
    return verdict


def _count(past: Past, verdict: Verdict) -> None:
    for call in past.calls:
        if call.acknowledged:
            if call.kind not in ("read", "look"):
                verdict.acked += 1
            verdict.by_label[call.label or "unlabelled"] += 1
        elif call.maybe:
            verdict.indeterminate += 1
        else:
            verdict.refused += 1


def _own(past: Past, contents: Contents, verdict: Verdict) -> None:
    registers: dict[str, set[Any]] = defaultdict(lambda: {None})
    fields: dict[tuple[str, str], set[Any]] = defaultdict(lambda: {None})
    switches: dict[tuple[str, str], set[Any]] = defaultdict(lambda: {False})
    members: dict[tuple[str, str], set[Any]] = defaultdict(lambda: {False})
    for call in past.calls:
        sure = _sure(past, call)
        if call.kind == "register":
            _write(registers, call.key, call.value, call, sure=sure)
        elif call.kind in ("patch", "member"):
            held = fields if call.kind == "patch" else members
            for name, value in call.value.items():
                _write(held, (call.key, name), value, call, sure=sure)
        elif call.kind == "toggle":
            at = (call.key, call.value)
            turned = call.result if sure else None
            if turned is not None:
                switches[at] = {turned}
            elif call.maybe or call.acknowledged:
                switches[at] = {True, False}
        elif call.kind == "read" and call.acknowledged:
            _check_read(call, registers[call.key], verdict)
    _compare("registers", registers, contents.get("registers", {}), verdict)
    for family, held in (("fields", fields), ("switches", switches), ("sets", members)):
        found, absent = contents.get(family, {}), None if family == "fields" else False
        flat = {(key, name): found.get(key, {}).get(name, absent) for key, name in held}
        _compare(family, held, flat, verdict)


def _sure(past: Past, call: Call) -> bool:
    """Whether what was told must be so; what was kept in a process that was killed is gone, as its label said."""
    return call.acknowledged and not (past.figures is None and call.label == VOLATILE)


def _entries(past: Past, kind: str, found: Mapping[str, list[Any]], verdict: Verdict) -> None:
    """A log with one writer: all that was told, once, in the order of the calls."""
    for key, calls in _by_key(past.calls, kind).items():
        held = found.get(key, [])
        positions = {value: at for at, value in enumerate(held)}
        _once([(past, call) for call in calls], held, f"{kind} {key}", verdict)
        order = [positions[call.value] for call in calls if call.value in positions]
        if order != sorted(order):
            verdict.blame("lost", f"{kind} {key} is not in the order of its calls")


def _queues(pasts: list[Past], found: Mapping[str, list[Any]], verdict: Verdict) -> None:
    """Queues with many writers: all that was told, once."""
    puts: dict[str, list[tuple[Past, Call]]] = defaultdict(list)
    for past in pasts:
        for key, calls in _by_key(past.calls, "put").items():
            puts[key] += [(past, call) for call in calls]
    for key, calls in puts.items():
        _once(calls, found.get(key, []), f"queue {key}", verdict)


def _once(calls: list[tuple[Past, Call]], held: list[Any], where: str, verdict: Verdict) -> None:
    counts = Counter(held)
    for past, call in calls:
        count = counts.pop(call.value, 0)
        if count > 1:
            verdict.blame("doubled", f"{call.value} is in {where} {count} times")
        if count == 0 and _sure(past, call):
            verdict.blame("lost", f"{call.value} is not in {where}")
        if count and not call.acknowledged and not call.maybe:
            verdict.blame("doubled", f"{call.value} is in {where}, and was refused")
    if counts:
        verdict.blame("doubled", f"{len(counts)} that nobody put are in {where}")


def _by_key(calls: list[Call], kind: str) -> dict[str, list[Call]]:
    found: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.kind == kind:
            found[call.key].append(call)
    return found


def _write(held: dict[Any, set[Any]], at: Any, value: Any, call: Call, *, sure: bool) -> None:
    if sure:
        held[at] = {value}
    else:
        held[at] = held[at] | ({value} if call.maybe or call.acknowledged else set())


def _check_read(call: Call, possible: set[Any], verdict: Verdict) -> None:
    if call.label == DEFAULT:
        if None not in possible:
            verdict.blame("stale", f"a default for {call.key}, which this process has written")
    elif call.result not in possible:
        verdict.blame("stale", f"{call.result} at {call.key} instead of {sorted(map(str, possible))}")


def _compare(family: str, held: Mapping[Any, set[Any]], found: Mapping[Any, Any], verdict: Verdict) -> None:
    for at, possible in held.items():
        if found.get(at) not in possible:
            verdict.blame("lost", f"{family} {at} is {found.get(at)} instead of {sorted(map(str, possible))}")


def _counters(calls: list[Call], found: Mapping[str, int], verdict: Verdict) -> None:
    told: dict[str, int] = defaultdict(int)
    maybe: dict[str, int] = defaultdict(int)
    for call in calls:
        if call.kind == "add":
            if call.acknowledged:
                told[call.key] += call.value
            elif call.maybe:
                maybe[call.key] += call.value
    for key in told.keys() | maybe.keys():
        value = int(found.get(key, 0))
        for _ in range(told[key] - value):
            verdict.blame("lost", f"counter {key} is {value}, and {told[key]} were told")
        for _ in range(value - told[key] - maybe[key]):
            verdict.blame("doubled", f"counter {key} is {value}, and {told[key]} + {maybe[key]} were asked for")


def _shared(calls: list[Call], found: Mapping[str, str], verdict: Verdict, *, linear: bool) -> None:
    writes: dict[str, list[Call]] = defaultdict(list)
    looks: list[Call] = []
    for call in calls:
        if call.kind == "shared" and (call.acknowledged or call.maybe):
            writes[call.key].append(call)
        elif call.kind == "look" and call.label == REDIS:
            looks.append(call)
    for key, each in writes.items():
        by_value = {call.value: call for call in each}
        sure = [call for call in each if call.acknowledged]
        _check_newest(key, found.get(key), by_value, sure, verdict)
    if not linear:
        return
    remote = {key: _Newest([call for call in each if call.label == REMOTE]) for key, each in writes.items()}
    values = {key: {call.value: call for call in each} for key, each in writes.items()}
    for look in looks:
        # A read that began before the write had ended may well miss it.
        newest = remote[look.key].before(look.began - SKEW) if look.key in remote else None
        if _overtaken(look.result, values.get(look.key, {}), newest):
            verdict.blame("false_labels", f"{look.result} at shared {look.key} is said to come from Redis")


class _Newest:
    """When the newest of some calls began that had ended by a time."""

    def __init__(self, calls: list[Call]) -> None:
        calls = sorted(calls, key=lambda call: call.ended or 0.0)
        self._ended = [call.ended or 0.0 for call in calls]
        self._began = list(accumulate((call.began for call in calls), max))

    def before(self, at: float = float("inf")) -> float | None:
        count = bisect_left(self._ended, at)
        return self._began[count - 1] if count else None


def _check_newest(key: str, value: Any, by_value: Mapping[Any, Call], sure: list[Call], verdict: Verdict) -> None:
    if value is not None and value not in by_value:
        verdict.blame("lost", f"shared {key} is {value}, which nobody wrote")
    elif _overtaken(value, by_value, _Newest(sure).before()):
        verdict.blame("lost", f"shared {key} is {value}, and newer ones were told")


def _overtaken(value: Any, by_value: Mapping[Any, Call], newest: float | None) -> bool:
    """Whether the write of *value* had ended for certain when the newest one began."""
    if newest is None or value is None:
        return newest is not None
    call = by_value.get(value)
    return call is not None and call.acknowledged and newest > (call.ended or 0.0) + SKEW
