"""What type checkers say of the public names; run through mypy and pyright, not executed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import assert_type

from polly_state import (
    Ack,
    Cache,
    Cached,
    Counters,
    Decision,
    Delivery,
    Events,
    Fields,
    Gap,
    Health,
    Lease,
    Log,
    Members,
    Message,
    Mode,
    PollyState,
    Queue,
    Read,
    Redemption,
    Roll,
    Rule,
    Sets,
    Statistics,
    Tenure,
    Tokens,
    Values,
)


@dataclass
class Reminder:
    text: str


async def values(state: PollyState) -> None:
    reminders = state.map("reminders", Reminder, ttl=timedelta(days=30))
    assert_type(reminders, Values[Reminder])
    assert_type(await reminders.get((1, "a")), Reminder | None)
    assert_type(await reminders.read(1), Read[Reminder | None])
    assert_type(await reminders.set(1, Reminder("x"), require=Ack.REMOTE), Ack)
    assert_type(await reminders.create(1, Reminder("x"), ttl=None), bool)
    assert_type(await reminders.swap(1, Reminder("x"), Reminder("y")), bool)
    assert_type(await reminders.time_to_live(1), float | None)
    await reminders.set(1, "text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await reminders.get(1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def untyped(state: PollyState) -> None:
    anything = state.map("anything")
    assert_type(anything, Values[object])
    assert_type(await anything.get("a"), object | None)


async def fields(state: PollyState) -> None:
    switches = state.fields("switches", bool)
    assert_type(switches, Fields[bool])
    assert_type(await switches.all(1), dict[str, bool])
    assert_type(await switches.get(1, "a"), bool | None)
    assert_type(await switches.toggle(1, "a"), bool)
    texts = state.fields("texts", str)
    await texts.toggle(1, "a")  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    await texts.set(1, "a", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def counters(state: PollyState) -> None:
    plays = state.counters("plays", ttl=7 * 86_400)
    assert_type(plays, Counters)
    assert_type(await plays.add("guild"), int)
    assert_type((await plays.read("guild")).stale, bool)


async def collections(state: PollyState) -> None:
    tags = state.sets("tags", str)
    assert_type(tags, Sets[str])
    assert_type(await tags.all(1), set[str])
    assert_type(await tags.read(1), Read[set[str]])
    assert_type(await tags.add(1, "a", "b"), Ack)
    await tags.add(1, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    tracks = state.log("tracks", Reminder, limit=50, ttl=timedelta(days=7))
    assert_type(tracks, Log[Reminder])
    assert_type(await tracks.append(1, Reminder("x")), Ack)
    assert_type(await tracks.latest(1, 5), list[Reminder])
    assert_type(await tracks.read(1), Read[list[Reminder]])
    inbox = state.queue("inbox", Reminder)
    assert_type(inbox, Queue[Reminder])
    assert_type(await inbox.put(1, Reminder("x"), require=Ack.REMOTE), Ack)
    assert_type(await inbox.waiting(1), list[Message[Reminder]])


async def coordination(state: PollyState) -> None:
    assert_type(await state.limits.admit("command", 1), Decision)
    assert_type(await state.limits.admit_all(("command", 1), ("guild", (1, "a"))), Decision)
    assert_type(await state.limiter("api", Rule("minute", 5, 60)).wait((1, "a"), timeout=1), Decision)
    async with state.locks().hold(1) as lease:
        assert_type(lease, Lease)
    assert_type(await state.semaphore("s", 2).try_acquire(1), Lease | None)
    assert_type(await state.leases("l").claim(1, "me", ttl=timedelta(seconds=5)), Tenure)
    tokens = state.tokens("t", Reminder, ttl=60)
    assert_type(tokens, Tokens[Reminder])
    assert_type(await tokens.redeem("x"), Redemption[Reminder])
    assert_type(await state.presence.read("bots"), Roll)
    state.limiter("api", on_outage="maybe")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def load_number(guild_id: int) -> int:
    return guild_id


async def load_numbers(ids: list[int]) -> dict[int, int]:
    return dict.fromkeys(ids, 1)


async def caches(state: PollyState) -> None:
    numbers = state.cache.family("numbers", int, ttl=60)
    assert_type(numbers, Cache[int])
    assert_type(await numbers.get(1), int | None)
    assert_type(await numbers.read(1), Cached[int])
    assert_type(await numbers.get_or_load(1, load_number), int)
    assert_type(await numbers.get_or_load_many([1, 2], load_numbers), dict[int, int])
    assert_type(await numbers.set(1, 5, tags=["guild:1"]), Ack)
    assert_type(await numbers.delete_many([1, 2]), dict[int, Ack])
    await numbers.set(1, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(state.cache.guild_roles.of(Reminder), Cache[Reminder])

    @state.cache.cached("doubled:{number}", ttl=60)
    async def doubled(number: int) -> int:
        return 2 * number

    assert_type(await doubled(1), int)
    assert_type(await doubled.invalidate(1), Ack)
    await doubled("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(doubled.__name__, str)

    class Guild:
        number = 1

        @state.cache.cached("roles:{self.number}:{page}", ttl=60)
        async def roles(self, page: int | None = None) -> list[str]:
            return []

    assert_type(await Guild().roles(), list[str])
    assert_type(await Guild().roles(page=1), list[str])
    assert_type(await Guild.roles(Guild(), 1), list[str])
    assert_type(await Guild().roles.invalidate(1), Ack)
    await Guild().roles("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    @state.cache.cached("outer:{number}", ttl=60)
    @state.cache.cached("inner:{number}", ttl=600)
    async def stacked(number: int) -> int:
        return number

    assert_type(await stacked(1), int)


async def whole() -> None:
    async with PollyState.from_env({}) as state:
        assert_type(state, PollyState)
        assert_type(state.mode, Mode)
        assert_type(state.health(), Health)
        assert_type(state.statistics(), Statistics)
        assert_type(await state.preferences.toggle(1, "bot"), bool)
        assert_type(await state.preferences.all(1), dict[str, bool])


async def taken(state: PollyState) -> None:
    members = state.members("members", Reminder, limit=5, ttl=60)
    assert_type(members, Members[Reminder])
    assert_type(await members.put(1, "a", Reminder("x")), tuple[str, ...])
    assert_type(await members.all(1), dict[str, Reminder])
    assert_type(await state.map("reminders", Reminder).take(1), Reminder | None)
    assert_type(await state.fields("texts", str).patch_if(1, {"a": None}, {"a": "x", "b": None}), bool)
    work = state.queue("work", Reminder)
    assert_type(await work.take(1), list[Delivery[Reminder]])
    async for delivery in work.listen(1):
        assert_type(delivery.value, Reminder)
        assert_type(await delivery.ack(), Ack)


async def told(state: PollyState) -> None:
    moves = state.events("moves", Reminder)
    assert_type(moves, Events[Reminder])
    assert_type(await moves.publish(1, Reminder("x")), Ack)
    await moves.publish(1, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async for message in moves.listen(1):
        if isinstance(message, Gap):
            assert_type(message.missed, int | None)
        else:
            assert_type(message, Reminder)
    async for value in state.map("reminders", Reminder).watch(1):
        assert_type(value, Reminder | None)
    async for fields in state.fields("texts", str).watch(1):
        assert_type(fields, dict[str, str])


async def services(state: PollyState) -> None:
    assert_type(await state.guilds.settings(1), dict[str, object])
    assert_type(await state.guilds.autoplay.add(1), int)
    assert_type(await state.room_sessions.claim("room", "session"), Tenure)
    assert_type(await state.sessions.patch(1, 2, volume=3), bool)
    assert_type(await state.identities.read("room", "p"), dict[str, object] | None)
    assert_type(await state.history.is_duplicate(1, id="a"), bool)
    await state.sessions.patch(1.5, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
