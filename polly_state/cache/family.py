"""The handle on one family of a cache."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from polly_state.cache.bulk import Bulk
from polly_state.cache.entries import Entry
from polly_state.cache.loading import Loading, called
from polly_state.cache.looks import Cached, Found, ids_of, wanted_of
from polly_state.cache.shared import Shared
from polly_state.cache.sharing import Sharing
from polly_state.cache.statistics import CacheStatistics, Tally
from polly_state.cache.warming import for_each
from polly_state.cache.writing import writing
from polly_state.commands import DropEntry, PutEntry
from polly_state.lifetime import Lifetime
from polly_state.store import Ack, Answer, Origin
from polly_state.store.channels import Topic
from polly_state.structures import Family, Id, Ttl

__all__ = ["Cache"]

T = TypeVar("T")
U = TypeVar("U")
I = TypeVar("I", bound=Id)  # noqa: E741

#: -ln of a random number is hardly ever more.
UNLIKELY: Final = 30.0


class Cache(Generic[T]):
    """Values that can be computed again, by id; None and whatever is empty are values as any other.

    A miss is not an error, nor is an outage of Redis: then there is what this process knows. What an invalidation has
    overtaken is never stored, nor given again.
    """

    def __init__(
        self,
        shared: Shared,
        name: str,
        declared: Any,
        lifetime: Lifetime,
        tally: Tally,
        *,
        dictionary: bytes | None = None,
    ) -> None:
        self.name = Family(shared.namespace, name).name
        self._shared = shared
        self._tally = tally
        self._loading: Loading[T] = Loading(shared, name, shared.codec(declared, dictionary), lifetime, tally)
        self._key = self._loading.family.key
        self._dictionary = dictionary
        self._sharing = Sharing(shared, self._loading)
        self._now = shared.store.clock.now
        self._eagerness = UNLIKELY * lifetime.early

    def of(self, declared: type[U], *, dictionary: bytes | None = None) -> Cache[U]:
        """The same family for values of one type, packed with a *dictionary* if one is given.

        Raises `TypeError` for a type that cannot be stored, and `ValueError` for what is no dictionary.
        """
        dictionary = self._dictionary if dictionary is None else dictionary
        return Cache(self._shared, self.name, declared, self._loading.lifetime, self._tally, dictionary=dictionary)

    async def get(self, id: Id) -> T | None:
        """The value if it is fresh, else None; `read` tells a cached None from a miss, and an outage from both."""
        kept = self._loading.held(id)
        if kept is None:
            key = self._key(id)
            kept = self._loading.near(key)
            if kept is None:
                entry = self._loading.fresh(await self._loading.fetch(key))
                return None if entry is None else entry.value
        value: T = kept.given()
        return value

    async def read(self, id: Id) -> Cached[T]:
        """What there is, stale or not, and where it comes from; `Origin.DEFAULT` if that could not be found out."""
        found = await self._loading.look(self._key(id))
        fresh = self._loading.fresh(found)
        self._tally.stale += fresh is not found.entry
        return self._labelled(found)

    async def set(self, id: Id, value: T, *, ttl: Ttl | None = None, tags: Iterable[str] = ()) -> Ack:
        """Put a value, for the family's ttl or its own.

        Raises `UnsupportedValue` for one that would not come back equal or is too large, and `ValueError` for a ttl
        that is not from 1 ms to 30 days.
        """
        return (await self.set_many({id: value}, ttl=ttl, tags=tags))[id]

    async def delete(self, id: Id) -> Ack:
        """Let there be no value; a load that is on its way stores none."""
        return (await self.delete_many([id]))[id]

    async def get_many(self, ids: Iterable[I]) -> dict[I, T | None]:
        """The fresh values there are, in one round trip."""
        keys = {each: self._key(each) for each in ids_of(ids)}
        return {**self._fresh(keys, await self._loading.look_many(keys.values()))}

    async def set_many(
        self, values: Mapping[I, T], *, ttl: Ttl | None = None, tags: Iterable[str] = ()
    ) -> dict[I, Ack]:
        """Put values, in one round trip after that for the markers; raises as `set` does, and then puts none."""
        wanted = wanted_of(ttl, tags)
        marks = await self._shared.markers.current(self.name, wanted.tags)
        commands = {}
        for each, value in values.items():
            entry = self._loading.made(value, wanted, marks)
            content = self._loading.codec.encode(entry)
            commands[each] = PutEntry(self._key(each), content, entry.ends - entry.created)
        self._tally.bytes_written += sum(len(command.content) for command in commands.values())
        answers = await self._written([*commands.values()])
        return {each: answer.ack for each, answer in zip(commands, answers, strict=True)}

    async def delete_many(self, ids: Iterable[I]) -> dict[I, Ack]:
        """Let there be no values, in one round trip."""
        keys = {each: self._key(each) for each in ids_of(ids)}
        answers = await self._written([DropEntry(key) for key in keys.values()])
        return {each: answer.ack for each, answer in zip(keys, answers, strict=True)}

    async def invalidate(self) -> Ack:
        """Let there be no value of the family, in one write however many there are."""
        return await self._shared.markers.mark_families([self.name])

    async def get_or_load(
        self,
        id: I,
        loader: Callable[[I], Awaitable[T]],
        *,
        ttl: Ttl | None = None,
        tags: Iterable[str] = (),
    ) -> T:
        """The value; if there is no fresh one, what *loader* gives for the id, once for all who ask, in any process.

        When the loader raises, or takes longer than the soft timeout, a stale value is given if there is one.

        Args:
            id: What to look for.
            loader: Called with the id. It goes on when its callers give up, and what it gives is kept.
            ttl: In place of the family's.
            tags: By which the value can be invalidated.

        Raises:
            LoadFailed: It took longer than the hard timeout, or was cancelled from within.
            UnsupportedValue: It gave something that would not come back equal, or is too large.
            RuntimeError: It asked the cache for its own key, directly or by way of other loaders.
            Overloaded: Some 100 000 keys are being loaded already.
        """
        kept = self._loading.held(id)
        if kept is None:
            key = self._key(id)
            kept = self._loading.near(key)
            if kept is None:
                found = await self._loading.fetch(key)
                entry = self._loading.fresh(found)
                if entry is None:
                    return await self._sharing.load(key, found, lambda: loader(id), wanted_of(ttl, tags))
                left = found.left
                if left < entry.load_seconds * self._eagerness:
                    self._sharing.early(key, entry, left, lambda: loader(id), wanted_of(ttl, tags))
                return entry.value
        about: Entry[None] = kept.about
        left = about.expires - self._now()
        if left < about.load_seconds * self._eagerness:
            self._sharing.early(self._key(id), about, left, lambda: loader(id), wanted_of(ttl, tags))
        value: T = kept.given()
        return value

    async def get_or_load_many(
        self,
        ids: Iterable[I],
        loader: Callable[[list[I]], Awaitable[Mapping[I, T]]],
        *,
        ttl: Ttl | None = None,
        tags: Iterable[str] = (),
    ) -> dict[I, T]:
        """The values; *loader* is called once with all ids that have no fresh one and that nobody loads already.

        Ids that it leaves out are left out here. Raises as `get_or_load` does.
        """
        keys, wanted = {each: self._key(each) for each in ids_of(ids)}, wanted_of(ttl, tags)
        looks = await self._loading.look_many(keys.values())
        found = self._fresh(keys, looks)
        missing = {each: key for each, key in keys.items() if each not in found}
        if missing:
            held = {key: look.entry for key, look in zip(keys.values(), looks, strict=True) if look.entry is not None}
            found |= await Bulk(self._shared, self._loading, loader, wanted).result(missing, held)
        return {each: found[each] for each in keys if each in found}

    async def warm(
        self,
        ids: Iterable[I],
        loader: Callable[[I], Awaitable[T]],
        *,
        ttl: Ttl | None = None,
        tags: Iterable[str] = (),
        at_once: int = 8,
    ) -> int:
        """Load what is not there, so many *at once*; how many loads that took.

        Ends with the first that fails, and raises as `get_or_load` does; `ValueError` for less than one at once.
        """
        loads, wanted = 0, wanted_of(ttl, tags)

        async def counted(id: I) -> T:
            nonlocal loads
            loads += 1
            return await called(lambda: loader(id))

        async def warmed(id: I) -> None:
            await self.get_or_load(id, counted, ttl=wanted.ttl, tags=wanted.tags)

        await for_each(ids_of(ids), warmed, at_once)
        return loads

    def statistics(self) -> CacheStatistics:
        """How the family has fared so far, in this process."""
        return self._tally.snapshot()

    async def _written(self, commands: Sequence[PutEntry | DropEntry]) -> list[Answer[bool]]:
        keys = [command.key for command in commands]
        for key in keys:
            self._shared.flights.detach(key)
        with writing(self._shared.near, *keys):
            answers = await self._shared.store.execute_many(commands)
        for key in keys:
            # Whoever waited for a load of it need not any more.
            self._shared.channels.tell(Topic(key))
        return answers

    def _fresh(self, keys: Mapping[I, str], looks: Iterable[Found[T]]) -> dict[I, T]:
        entries = {name: self._loading.fresh(look) for name, look in zip(keys, looks, strict=True)}
        return {name: entry.value for name, entry in entries.items() if entry is not None}

    def _labelled(self, found: Found[T]) -> Cached[T]:
        entry, answer = found.entry, found.answer
        origin = Origin.DEFAULT if answer is None else answer.origin
        if entry is None:
            return Cached(None, hit=False, origin=origin, age=0.0, stale=False)
        now = self._shared.store.clock.now()
        stale = entry.failed or entry.expires <= now or origin is Origin.MIRROR
        return Cached(entry.value, hit=True, origin=origin, age=max(0.0, now - entry.created), stale=stale)
