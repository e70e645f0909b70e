"""What may come instead of a result: an error that Redis answered with, or the end of the link."""

from __future__ import annotations

import re
from typing import Final

from polly_state.errors import StoreUnavailable

__all__ = ["LinkLost", "ReplyError"]

#: A script may put a line with its name before the error of a command, and some servers a second ERR.
CODE: Final = re.compile(
    r"(?:ERR Error (?:running|compiling) script.*?: (?:@?user_script:\d+: )?(?=-?[A-Z]{3,} ))?"
    r"(?:ERR (?=(?:NOSCRIPT|OUTDATED|WRONGTYPE|FENCED) ))?-?([A-Z]+)"
).match


class ReplyError(Exception):
    """An error that Redis answered with; it is handed out as a reply, not raised."""

    @property
    def code(self) -> str:
        """The word that tells what is wrong, such as WRONGTYPE, also where a script wraps it."""
        found = CODE(str(self))
        return "ERR" if found is None else found[1]


class LinkLost(StoreUnavailable):
    """The link ended before the reply came; *deadline* is what the loop's clock may reach for this command."""

    def __init__(self, reason: str, *, maybe_applied: bool, deadline: float) -> None:
        super().__init__(f"the connection to Redis was lost: {reason}", maybe_applied=maybe_applied)
        self.deadline = deadline
