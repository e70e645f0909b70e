"""Limits: how much of something is allowed in a time, decided for several rules at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from polly_state.commands.base import Command, Effect, command
from polly_state.commands.rules import MICRO, Numbers, Quota, Rule
from polly_state.commands.script import Script
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["Admit", "AdmitAll", "OnOutage", "Plan", "Verdict"]

WINDOW: Final = re.compile(rb"(\d+) (\d+)")
SCRIPT: Final = Script("gcra", alone=True)

OnOutage: TypeAlias = Literal["share", "allow", "deny"]
"""What decides while Redis is away: this process' share of the limit, or nobody."""


class Plan:
    """Rules that are decided together, prepared once for all of their calls."""

    __slots__ = ("arguments", "numbers", "on_outage", "rules", "suffixes")

    def __init__(self, rules: tuple[Rule | Quota, ...], on_outage: OnOutage) -> None:
        self.rules = rules
        self.on_outage = on_outage
        self.numbers = tuple(rule.numbers for rule in rules)
        self.suffixes = tuple(f":{rule.name}" for rule in rules)
        self.arguments = tuple(b"%d" % number for three in self.numbers for number in three)
        """As they go over the wire: to turn numbers into text costs more than the rest of a call's words."""


class Verdict(NamedTuple):
    """What was decided; times are seconds from now."""

    allowed: bool
    remaining: int
    """What is left of the rule that decided: after this, if it was allowed."""
    retry_after: float
    reset_after: float
    """Until nothing of that rule is used any more, or its window ends."""
    rule: int
    """Which of the rules decided."""


@command
class Admit(Command[Verdict]):
    """Take *cost* under all rules of a plan, or under none of them; without *take*, only tell.

    *key* is what the keys of the rules have in common. A call whose reply is lost counts as taken, and is not repeated.
    """

    effect = Effect.LIMIT
    script = SCRIPT

    plan: Plan
    cost: int
    at: float
    """Seconds since the epoch, for who has no Redis to ask."""
    processes: int = 1
    """How many share the limit while Redis is away."""
    take: bool = True

    def encode(self) -> Words:
        plan, suffixes = self.plan, self.plan.suffixes
        what = (self.cost, b"1" if self.take else b"0")
        if len(suffixes) == 1:
            return ("EVALSHA", SCRIPT.digest, b"1", self.key + suffixes[0], *what, *plan.arguments)
        return ("EVALSHA", SCRIPT.digest, len(suffixes), *self.places(), *what, *plan.arguments)

    def places(self) -> list[str]:
        """The keys of the rules, in their order."""
        return [self.key + suffix for suffix in self.plan.suffixes]

    def decode(self, reply: Reply) -> Verdict:
        allowed, remaining, retry, reset, number = reply
        return tuple.__new__(Verdict, (allowed == 1, remaining, retry / MICRO, reset / MICRO, number - 1))

    def apply(self, keyspace: Keyspace) -> Verdict:
        return self._decide(keyspace, self.plan.numbers)

    def alone(self, keyspace: Keyspace) -> Verdict:
        if self.plan.on_outage == "share":
            return self._decide(keyspace, tuple(rule.share(self.processes) for rule in self.plan.rules))
        allowed = self.plan.on_outage == "allow"
        return Verdict(allowed, 0, 0.0 if allowed else 1.0, 0.0, 0)

    def learn(self, keyspace: Keyspace, result: Verdict) -> None:
        # What is used up stays so when Redis goes away; the rest costs too much to follow.
        if not result.allowed and self.take:
            rule = self.plan.rules[result.rule]
            share = rule.share(self.processes)
            number = int(self.at * MICRO) // share.window
            content = f"{number} {share.most}" if not share.each else f"{int(self.at * MICRO) + share.most}"
            ends = keyspace.now() + share.window / MICRO
            keyspace.put(self.places()[result.rule], content.encode(), expires_at=ends)

    def _decide(self, keyspace: Keyspace, rules: tuple[Numbers, ...]) -> Verdict:
        now = int(self.at * MICRO)
        keys = self.places()
        used = [_Used(keyspace.string(key) or b"", now, rule) for key, rule in zip(keys, rules, strict=True)]
        waits = [each.wait(self.cost) for each in used]
        longest = max(waits)
        if longest > 0:
            at = waits.index(longest)
            return Verdict(False, used[at].left, longest / MICRO, used[at].reset / MICRO, at)
        if self.take:
            for key, each in zip(keys, used, strict=True):
                each.take(self.cost)
                keyspace.put(key, each.content, expires_at=keyspace.now() + each.life / MICRO)
        lefts = [each.left for each in used]
        at = lefts.index(min(lefts))
        return Verdict(True, lefts[at], 0.0, used[at].reset / MICRO, at)


@command
class AdmitAll(Admit):
    """The same with each rule at the key in its place of *keys*, which one server must have."""

    keys: tuple[str, ...] = ()

    def places(self) -> list[str]:
        return [key + suffix for key, suffix in zip(self.keys, self.plan.suffixes, strict=True)]

    def encode(self) -> Words:
        places = self.places()
        take = b"1" if self.take else b"0"
        return ("EVALSHA", SCRIPT.digest, len(places), *places, self.cost, take, *self.plan.arguments)


class _Used:
    """What is used of one rule, as the script sees it; what does not fit the rule counts as nothing."""

    __slots__ = ("_now", "_rule", "count")

    def __init__(self, content: bytes, now: int, rule: Numbers) -> None:
        self._now, self._rule = now, rule
        self.count = 0
        """Microseconds of a bucket, or a number in a window."""
        if rule.each:
            self.count = max(int(content) - now, 0) if content.isdigit() else 0
        elif (found := WINDOW.fullmatch(content)) is not None and int(found[1]) == now // rule.window:
            self.count = int(found[2])

    @property
    def left(self) -> int:
        free = max(0, self._rule.most - self.count)
        return free // self._rule.each if self._rule.each else free

    @property
    def life(self) -> int:
        return self.count if self._rule.each else self._rule.window - self._now % self._rule.window

    @property
    def reset(self) -> int:
        return self.life if self.count else 0

    @property
    def content(self) -> bytes:
        if self._rule.each:
            return b"%d" % (self._now + self.count)
        return b"%d %d" % (self._now // self._rule.window, self.count)

    def wait(self, cost: int) -> int:
        """Microseconds until so much is free; what is more than fits in waits for all of it, and is owed then."""
        most = self._rule.most
        if self._rule.each:
            return max(0, min(cost * self._rule.each, most) - (most - self.count))
        return self.life if self.count + min(cost, most) > most else 0

    def take(self, cost: int) -> None:
        self.count += cost * (self._rule.each or 1)
