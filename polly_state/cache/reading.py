"""Reading: what one look at the markers of all families has found."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Final

__all__ = ["ABSENT", "EVERYTHING", "UNKNOWN", "Reading"]

ABSENT, UNKNOWN = b"-", b"?"
EVERYTHING: Final = "*"


class Reading:
    """One read of the markers of all families, for whoever began to ask in one turn of the event loop.

    What was invalidated before any of them asked is in it: nobody can hear of it in the turn in which the read is sent.
    """

    __slots__ = ("_found", "_marks", "_missing", "_waiting", "done", "over", "sure", "until")

    def __init__(self) -> None:
        self.done = self.over = False
        self.sure = False
        """Whether Redis was asked, and not what was last seen there."""
        self.until = -math.inf
        """Until when it counts at most while Redis tells of changes, by the monotonic clock in seconds."""
        self._found: Mapping[str, bytes] = {}
        self._missing = UNKNOWN
        self._marks: dict[str, bytes] = {}
        self._waiting: list[asyncio.Future[None]] = []

    def of(self, name: str) -> bytes:
        """The marks of a family without tags, once it is done."""
        marks = self._marks.get(name)
        if marks is None:
            found, missing = self._found, self._missing
            everything = found.get(EVERYTHING, missing)
            marks = self._marks[name] = b"%b %b" % (everything, found.get(name, missing))
        return marks

    async def wait(self) -> bool:
        """Wait until it is done; False if it never will be."""
        if not self.over:
            # A future for each: one that is shared would be cancelled with the first who gives up.
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        return self.done

    def end(self, found: Mapping[str, bytes], missing: bytes, *, sure: bool = False) -> None:
        """It has found these."""
        self._found, self._missing, self.done, self.sure = found, missing, True, sure
        self.give_up()

    def give_up(self) -> None:
        """Let all who wait go on."""
        self.over = True
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
