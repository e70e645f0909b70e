"""Limits: how often users, guilds and services may do things, by named rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polly_state.commands import Rule
from polly_state.structures import Decision, Id, Limiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from polly_state.commands import Quota

__all__ = ["RULES", "Limits"]

RULES: Final = (
    Rule("command", 5, 60),
    Rule("music", 3, 30),
    Rule("download", 2, 300),
    Rule("guild", 10, 60),
    Rule("api", 100, 60),
)
"""What a music bot allows of each of these."""


class Limits:
    """Named rules, of which any may be asked for under any id; those of `RULES` are there from the start."""

    def __init__(self, limiter: Callable[..., Limiter]) -> None:
        self._make = limiter
        self._rules: dict[str, Rule | Quota] = {rule.name: rule for rule in RULES}
        self._limiter: Limiter | None = None

    def add(self, *rules: Rule | Quota) -> None:
        """Add rules, or replace those of the same name. Raises `RuntimeError` once a rule was asked for."""
        if self._limiter is not None:
            raise RuntimeError("add rules before the first of them is asked for")
        self._rules.update((rule.name, rule) for rule in rules)

    async def admit(self, rule: str, id: Id, *others: str, cost: int = 1) -> Decision:
        """Use *cost* of a rule, and of *others* in the same decision; raises as `Limiter.admit` does."""
        return await self._all().admit(id, rule, *others, cost=cost)

    async def peek(self, rule: str, id: Id, *others: str, cost: int = 1) -> Decision:
        """What `admit` would answer, using nothing."""
        return await self._all().peek(id, rule, *others, cost=cost)

    async def admit_all(self, *asked: tuple[str, Id], cost: int = 1) -> Decision:
        """Use *cost* of several rules, each under an id of its own, or of none; raises as `Limiter.admit_all` does."""
        return await self._all().admit_all(*asked, cost=cost)

    async def peek_all(self, *asked: tuple[str, Id], cost: int = 1) -> Decision:
        """What `admit_all` would answer, using nothing."""
        return await self._all().peek_all(*asked, cost=cost)

    async def wait(self, rule: str, id: Id, *others: str, cost: int = 1, timeout: float | None = None) -> Decision:
        """Admit as soon as that is allowed. Raises `RateLimited` if that would be later than *timeout* seconds."""
        return await self._all().wait(id, rule, *others, cost=cost, timeout=timeout)

    async def reset(self, rule: str, id: Id, *others: str) -> None:
        """Let nothing be used of the rules."""
        await self._all().reset(id, rule, *others)

    def _all(self) -> Limiter:
        if self._limiter is None:
            self._limiter = self._make("limits", *self._rules.values())
        return self._limiter
