"""Slots: which of the 16 384 parts of a Cluster a key belongs to, and which server has which part."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable
from itertools import count
from typing import Final, NamedTuple, TypeAlias

from polly_state.address import Address
from polly_state.connection import ReplyError
from polly_state.connection.refusals import translated
from polly_state.errors import ConfigurationError, StoreUnavailable
from polly_state.wire import Reply, Words

__all__ = ["QUESTIONS", "SLOTS", "Place", "Range", "View", "key_of", "slot_of", "tag_in", "view_in"]

SLOTS: Final = 16_384
#: What a server is asked for its view.
QUESTIONS: Final = (("CLUSTER", "SLOTS"), ("CLUSTER", "INFO"))
SCRIPTED: Final = frozenset(("EVALSHA", "EVAL"))

Place: TypeAlias = tuple[str, int]
"""Host and port of one server."""


class Range(NamedTuple):
    """The slots from *first* to *last*, both included, and the server that has them."""

    first: int
    last: int
    place: Place


class View(NamedTuple):
    """How one server sees its Cluster."""

    ranges: tuple[Range, ...]
    healthy: bool
    """Whether it is in touch with most of the others; if not, they may have moved on without it."""


def slot_of(key: str) -> int:
    """The slot of *key*: CRC16 of what is in its first braces or, where that is nothing, of all of it.

    https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
    """
    begin = key.find("{") + 1
    if begin:
        end = key.find("}", begin)
        if end > begin:
            key = key[begin:end]
    return crc_hqx(key.encode(errors="surrogateescape"), 0) % SLOTS


def key_of(words: Words) -> str:
    """The first key, or the channel, in the words of a command; any text for one that every server can answer."""
    word = words[3] if words[0] in SCRIPTED else words[min(1, len(words) - 1)]
    return word.decode(errors="surrogateescape") if isinstance(word, bytes) else str(word)


def tag_in(ranges: Iterable[Range]) -> str:
    """A text whose slot is in one of *ranges*: the same for all who ask, and while that server keeps that slot."""
    owned = {slot for each in ranges for slot in range(each.first, each.last + 1)}
    return next(tag for tag in map(str, count()) if slot_of(tag) in owned)


def view_in(replies: list[Reply], address: Address) -> View:
    """The view of the server at *address*, in its replies to `QUESTIONS`.

    Raises `ConfigurationError` if it is in no Cluster, and `StoreUnavailable` for nonsense.
    """
    slots, state = replies
    if isinstance(slots, ReplyError):
        if "cluster support disabled" in str(slots):
            raise ConfigurationError(f"Redis at {address} is in no Cluster; use redis:// for it")
        raise translated(slots)
    try:
        found = [(int(first), int(last), *master[:2]) for first, last, master, *_ in slots]
        # A server that does not know its own name leaves it out.
        ranges = sorted(
            Range(first, last, ((name or b"").decode().strip("?") or address.host, int(port)))
            for first, last, name, port in found
            if 0 <= first <= last < SLOTS
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise StoreUnavailable(f"Redis at {address} does not say which slots there are") from error
    return View(tuple(ranges), isinstance(state, bytes) and b"cluster_state:ok" in state)
