"""Who is told what becomes of a link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from polly_state.connection.link import Link

__all__ = ["LinkListener", "Unheard"]


class LinkListener(Protocol):
    """Who is told what becomes of a link."""

    def answered(self, link: Link, count: int) -> None:
        """*count* replies came."""
        ...

    def overdue(self, link: Link, count: int, *, silent: bool) -> None:
        """*count* commands passed their deadline; *silent* if nothing at all came since they were sent."""
        ...

    def lost(self, link: Link, reason: str, unsent: int, unknown: int) -> None:
        """The link ended without having been closed."""
        ...


class Unheard(LinkListener):
    """For links whose replies tell all that there is to know."""

    def answered(self, link: Link, count: int) -> None:
        """See `LinkListener`."""

    def overdue(self, link: Link, count: int, *, silent: bool) -> None:
        """See `LinkListener`."""

    def lost(self, link: Link, reason: str, unsent: int, unknown: int) -> None:
        """See `LinkListener`."""
