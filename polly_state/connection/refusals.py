"""What an error reply means: whom it concerns, and which of our errors it becomes."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from polly_state.connection.replies import ReplyError
from polly_state.errors import AuthenticationFailed, CommandRejected, Fenced, StateError, StoreUnavailable

__all__ = ["REDIRECTIONS", "Concern", "concern_of", "doubtful", "translated"]


class Concern(Enum):
    """What an error reply says something about."""

    COMMAND = "command"
    LINK = "link"
    WRITE = "write"
    ACCESS = "access"
    SCRIPT = "script"


CONCERNS: Final = {
    **dict.fromkeys(("LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "UNKILLABLE"), Concern.LINK),
    **dict.fromkeys(("OOM", "MISCONF", "READONLY", "NOREPLICAS"), Concern.WRITE),
    **dict.fromkeys(("NOAUTH", "WRONGPASS"), Concern.ACCESS),
    "NOSCRIPT": Concern.SCRIPT,
}
ADVICE: Final = {
    "WRONGTYPE": "the key holds another kind of value; something else uses it, or the family changed its structure",
    "NOPERM": "the user's ACL does not allow it",
    **dict.fromkeys(("MOVED", "ASK"), "this server is one of a Cluster; use redis+cluster:// for it"),
    "CROSSSLOT": "no command of a Cluster reaches keys in several slots; do one thing for each id instead",
}
#: What a server of a Cluster says of a slot that is another one's, or will be in a moment.
REDIRECTIONS: Final = frozenset(("MOVED", "ASK", "TRYAGAIN"))
UNKNOWN: Final = "UNKNOWN"
#: Redis quotes what it was sent; anything from the first quotation mark on may be a value.
QUOTED: Final = re.compile(r"['\"`].*", re.DOTALL)
#: And a script's error ends with where in the script it was.
SCRIPT: Final = re.compile(r"\s*script: .*", re.DOTALL)


def concern_of(error: ReplyError) -> Concern:
    """Whom *error* concerns: the command, unless its code is known to tell otherwise."""
    return CONCERNS.get(error.code, Concern.COMMAND)


def translated(error: ReplyError) -> StateError:
    """The error to raise; it repeats nothing of what was sent."""
    code = error.code
    concern = CONCERNS.get(code, Concern.COMMAND)
    if concern is Concern.ACCESS:
        return AuthenticationFailed("Redis refused the user name or password; check REDIS_PASSWORD")
    if concern in (Concern.LINK, Concern.WRITE):
        return StoreUnavailable(f"Redis refuses {concern.value} operations for now ({code})")
    if code == "FENCED":
        return Fenced("a later holder has written")
    if "unknown command" in str(error):
        return CommandRejected(
            "this server lacks a command that is needed; use Redis 6.2 or newer, or Valkey", code=UNKNOWN
        )
    text = ADVICE.get(code) or SCRIPT.sub("", QUOTED.sub("...", str(error))).removeprefix(f"{code} ")
    return CommandRejected(f"Redis rejected the command ({code}): {text}", code=code)


def doubtful(error: StateError) -> StateError:
    """The same error, for a command of which an earlier attempt may have run; others may have been told of *error*."""
    kind = StoreUnavailable if isinstance(error, StoreUnavailable) else type(error)
    twin = kind(*error.args)
    twin.maybe_applied = True
    return twin
