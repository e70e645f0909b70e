"""Looks: what is asked of a family, and what is found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, NamedTuple, TypeVar

from polly_state.cache.entries import Entry
from polly_state.cache.tags import check_tag
from polly_state.lifetime import MAX_CACHED
from polly_state.store import Ack, Answer, Origin
from polly_state.structures import Id, Ttl, seconds

__all__ = ["NEAR", "Cached", "Found", "Turn", "Wanted", "found", "ids_of", "wanted_of"]

T = TypeVar("T")
I = TypeVar("I", bound=Id)  # noqa: E741
MAX_TAGS: Final = 1000

NEAR: Final = Answer[bytes | None](None, Origin.NEAR, Ack.REMOTE)
"""The answer of what this process holds, and Redis vouches for."""


class Wanted(NamedTuple):
    """What a caller asks for, besides the key."""

    ttl: float | None = None
    tags: tuple[str, ...] = ()
    newer_than: float = float("-inf")
    """What is older is loaded anew, although it may be fresh; seconds since the epoch."""
    patient: bool = True
    """Whether to wait for another process that loads it already."""


class Cached(NamedTuple, Generic[T]):
    """What the cache has of an id, with the truth about it."""

    value: T | None
    hit: bool
    """Whether there is a value, which may be None."""
    origin: Origin
    age: float
    """Seconds since it was loaded or set."""
    stale: bool
    """Whether it is past its time, its loader has failed since, or Redis is away and may hold a newer one."""


class Found(NamedTuple, Generic[T]):
    """What is known of a key: an entry that counts, if there is one, and the marks of the family now."""

    entry: Entry[T] | None
    marks: bytes
    answer: Answer[bytes | None] | None
    left: float
    """For how many seconds more it is fresh; 0 or less if it is not."""


def found(entry: Entry[T] | None, marks: bytes, answer: Answer[bytes | None] | None, left: float) -> Found[T]:
    """The same, made without the detour over a NamedTuple's own way."""
    return tuple.__new__(Found, (entry, marks, answer, left))


class Turn(NamedTuple, Generic[T]):
    """Who is to load a key, and under which marks."""

    marks: bytes
    ours: bool
    claimed: bool
    """Whether others know that it is ours; not while Redis is away."""
    left: float
    held: Entry[T] | None
    """What is there: if it is not ours, that may do."""
    content: bytes = b""
    """The same as it is stored."""


def wanted_of(ttl: Ttl | None, tags: Iterable[str]) -> Wanted:
    """What a caller asks for. Raises `ValueError` or `TypeError` for what cannot be."""
    lifetime = seconds(ttl)
    if lifetime is not None and lifetime > MAX_CACHED:
        raise ValueError("a ttl of what is cached must be at most 30 days")
    if isinstance(tags, str):
        raise TypeError("tags are several texts; for one, write [tag]")
    several = tuple(tags)
    if len(several) > MAX_TAGS:
        raise ValueError(f"an entry has at most {MAX_TAGS} tags")
    for tag in several:
        check_tag(tag)
    return Wanted(lifetime, several)


def ids_of(ids: Iterable[I]) -> Iterable[I]:
    """Several ids. Raises `TypeError` for a text, which is one, though its letters could be taken for ids."""
    if isinstance(ids, (str, bytes)):
        raise TypeError("ids are several; for one, write [id]")
    return ids
