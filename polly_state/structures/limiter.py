"""Limiter: rules that are decided together, exactly while Redis answers, and by shares while it does not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final, NamedTuple

from polly_state.commands import Admit, AdmitAll, Delete, OnOutage, Plan, Quota, Rule
from polly_state.errors import RateLimited
from polly_state.store import Origin
from polly_state.structures.base import Binding, Structure, positive
from polly_state.structures.keys import Id

__all__ = ["Decision", "Limiter"]

CHOICES: Final = ("share", "allow", "deny")
#: Those who wait for the same limit do not all come back at once.
JITTER: Final = 0.01
MOST: Final = 16


class Decision(NamedTuple):
    """Whether something may be done, and what is left then."""

    allowed: bool
    remaining: int
    """How many more the deciding rule allows now."""
    retry_after: float
    """Seconds until it is worth trying again; 0 if it was allowed."""
    reset_at: float
    """When nothing of the deciding rule will be used any more, in seconds since the epoch, by Redis' clock."""
    origin: Origin
    """`Origin.SHARE` for this process' share in an outage, `Origin.DEFAULT` for what *on_outage* says."""
    rule: str
    """The rule that decided."""


class Limiter(Structure):
    """Limits under ids of one's own, each of which has all of the rules to itself.

    Several rules are one decision: what one of them refuses uses nothing of the others. While Redis is away each
    process allows its part of the limit, with *on_outage* "share", or all or nothing, with "allow" or "deny".
    """

    def __init__(
        self,
        binding: Binding,
        rules: tuple[Rule | Quota, ...],
        on_outage: OnOutage = "share",
        processes: Callable[[], int] = lambda: 1,
    ) -> None:
        """Make one of *rules*; *processes* tells how many share the limits. Raises `ValueError`."""
        super().__init__(binding)
        if on_outage not in CHOICES:
            raise ValueError('on_outage is "share", "allow" or "deny"')
        self._rules = {rule.name: rule for rule in rules}
        if not rules or len(self._rules) < len(rules):
            raise ValueError("a limiter has one rule or more, each with a name of its own")
        self._on_outage: OnOutage = on_outage
        self._plans: dict[tuple[str, ...], Plan] = {(): Plan(rules, on_outage)}
        self._processes = processes

    async def admit(self, id: Id, *rules: str, cost: int = 1) -> Decision:
        """Use *cost* of the rules of those names, or of all, unless one of them does not allow it.

        Raises:
            ValueError: There is no such rule, or it never allows so much.
            Overloaded: Too much is in flight in this process.
        """
        return await self._decide(id, rules, cost, take=True)

    async def peek(self, id: Id, *rules: str, cost: int = 1) -> Decision:
        """What `admit` would answer, using nothing; *remaining* is what is left now."""
        return await self._decide(id, rules, cost, take=False)

    async def admit_all(self, *asked: tuple[str, Id], cost: int = 1) -> Decision:
        """Use *cost* of several rules, each under an id of its own, unless one of them does not allow it.

        Each is a rule's name and an id: the limits of a user and of their guild are one decision, and what is refused
        uses nothing of either. Raises as `admit` does, and `ValueError` if something is asked for twice, or nothing.
        """
        return await self._decide_all(asked, cost, take=True)

    async def peek_all(self, *asked: tuple[str, Id], cost: int = 1) -> Decision:
        """What `admit_all` would answer, using nothing."""
        return await self._decide_all(asked, cost, take=False)

    async def wait(self, id: Id, *rules: str, cost: int = 1, timeout: float | None = None) -> Decision:
        """Admit as soon as that is allowed. Raises `RateLimited` if that would be later than *timeout* seconds."""
        loop = asyncio.get_running_loop()
        ends = float("inf") if timeout is None else loop.time() + timeout
        while True:
            decision = await self.admit(id, *rules, cost=cost)
            if decision.allowed:
                return decision
            if loop.time() + decision.retry_after > ends:
                raise RateLimited(f"the rule {decision.rule!r} allows no more", retry_after=decision.retry_after)
            await asyncio.sleep(decision.retry_after + random.uniform(0, JITTER))

    async def reset(self, id: Id, *rules: str) -> None:
        """Let nothing be used of the rules of those names, or of all; in an outage that reaches Redis later."""
        key = self._key(id)
        await self._store.execute_many([Delete(key + suffix) for suffix in self._plan(rules).suffixes])

    async def _decide(self, id: Id, names: tuple[str, ...], cost: int, *, take: bool) -> Decision:
        plan = self._plans.get(names) or self._plan(names)
        if cost != 1 or cost is True:
            self._check_cost(plan, cost)
        return await self._decision(Admit(self._key(id), plan, cost, self._store.clock.now(), self._processes(), take))

    async def _decide_all(self, asked: tuple[tuple[str, Id], ...], cost: int, *, take: bool) -> Decision:
        keys = tuple(self._key(each) for _, each in asked)
        names = tuple(name for name, _ in asked)
        if not 0 < len(set(zip(keys, names, strict=True))) == len(asked) <= MOST:
            raise ValueError(f"ask for each rule once under each id, and for 1 to {MOST} in all")
        plan = Plan(tuple(self._rule(name) for name in names), self._on_outage)
        self._check_cost(plan, cost)
        now = self._store.clock.now()
        return await self._decision(AdmitAll(keys[0], plan, cost, now, self._processes(), take, keys))

    async def _decision(self, admit: Admit) -> Decision:
        plan, now = admit.plan, admit.at
        (allowed, remaining, retry, reset, rule), origin, _, _ = await self._store.execute(admit)
        if origin is Origin.SHARE and plan.on_outage != "share":
            origin = Origin.DEFAULT
        name = plan.rules[rule].name
        return tuple.__new__(Decision, (allowed, remaining, retry, now + reset, origin, name))

    def _plan(self, names: tuple[str, ...]) -> Plan:
        plan = self._plans.get(names)
        if plan is None:
            rules = tuple(self._rule(name) for name in names)
            if len(set(names)) < len(names):
                raise self._misnamed()
            plan = self._plans[names] = Plan(rules, self._on_outage)
        return plan

    def _rule(self, name: str) -> Rule | Quota:
        if name not in self._rules:
            raise self._misnamed()
        return self._rules[name]

    def _misnamed(self) -> ValueError:
        return ValueError(f"name each rule once, out of: {', '.join(self._rules)}")

    def _check_cost(self, plan: Plan, cost: int) -> None:
        positive(cost)
        for rule in plan.rules:
            if cost > rule.most:
                raise ValueError(f"the rule {rule.name!r} never allows more than {rule.most} at once")
