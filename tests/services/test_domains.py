"""The services of bots, with a Redis, with a directory and with neither."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing

import pytest

from polly_state import Ack, Mode, PollyState, Settings, StateUnavailable, StoreUnavailable
from polly_state.services.bans import Bans
from polly_state.services.guilds import DEFAULTS, Guilds
from polly_state.services.history import Ranked, Track, TrackMetadata
from polly_state.services.queue_sessions import Snapshots
from polly_state.services.room_sessions import RoomSessions
from polly_state.services.rooms import Active
from polly_state.services.sessions import Session, Sessions
from polly_state.testing import Clock, FaultProxy
from tests.outages import QUICK, cut, later, mend, state_at, until

G, U = 111111111111111111, 123456789012345678
ODD = ["r?", "r*", "r[1]", "r1", "r:1", "{r}", "r%3A1", "部屋", "a\nb", "x" * 4000]


def track(number, **parts):
    return Track(f"id-{number}", f"Song {number}", url=f"https://example.org/{number}", **parts)


async def test_settings_are_merged_over_defaults_and_written_one_by_one(anywhere):
    guilds = anywhere.guilds
    assert await guilds.settings(G) == DEFAULTS
    await asyncio.gather(guilds.update(G, volume=70), guilds.update(G, repeat="queue", prefix="!"))
    assert await guilds.settings(G) == {**DEFAULTS, "volume": 70, "repeat": "queue", "prefix": "!"}
    assert (await guilds.get(G, "volume"), await guilds.get(G, "language")) == (70, "en")
    assert await guilds.get(G, "unheard-of") is None
    counts = await asyncio.gather(*(guilds.autoplay.add(G) for _ in range(20)))
    assert sorted(counts) == list(range(1, 21))
    assert await guilds.repeats.add(G, 3) == 3
    await guilds.reset(G)
    assert await guilds.settings(G) == DEFAULTS
    assert (await guilds.autoplay.value(G), await guilds.repeats.value(G)) == (0, 0)
    assert await guilds.autoplay.add(G) == 1


async def test_a_reset_that_was_kept_in_an_outage_leaves_what_was_set_after_it(server, namespace):
    async with FaultProxy(server.url) as proxy:
        one = state_at(proxy.url, namespace=namespace, breaker=QUICK)
        async with one as one, state_at(server.url, namespace=namespace) as two:
            await one.guilds.update(G, volume=1, repeat="queue")
            await one.guilds.autoplay.add(G)
            await cut(proxy, one)
            assert await one.guilds.reset(G) is Ack.LOCAL_VOLATILE
            await later(two, than=one)
            assert await two.guilds.update(G, volume=70) is Ack.REMOTE
            await mend(proxy, one)
            for each in (one, two):
                assert await each.guilds.settings(G) == {**DEFAULTS, "volume": 70}
                assert await each.guilds.autoplay.value(G) == 0


async def test_a_reset_is_for_good_whoever_counts_and_sets_meanwhile(server):
    namespace = f"guilds-{secrets.token_hex(4)}"
    async with state_at(server.url, namespace=namespace) as one, state_at(server.url, namespace=namespace) as two:
        await asyncio.gather(*(each.guilds.autoplay.add(G) for each in (one, two) * 5), one.guilds.update(G, volume=1))
        await one.guilds.reset(G)
        assert sorted(await asyncio.gather(*(each.guilds.autoplay.add(G) for each in (one, two) * 5))) == [
            *range(1, 11)
        ]
        await two.guilds.update(G, language="pt")
        assert await one.guilds.settings(G) == {**DEFAULTS, "language": "pt"}


async def test_settings_may_end_when_nobody_uses_them():
    async with PollyState(Settings()) as state:
        guilds = Guilds(state, {"volume": 10}, ttl=0.2)
        clock = Clock()
        state._keyspace.now = clock
        await guilds.update(G, volume=20)
        clock.advance(0.15)
        assert await guilds.settings(G) == {"volume": 20}
        clock.advance(0.15)
        assert await guilds.settings(G) == {"volume": 20}
        clock.advance(0.3)
        assert await guilds.settings(G) == {"volume": 10}


async def test_a_history_has_the_newest_tracks(anywhere):
    history = anywhere.history
    assert await history.latest(G) is None
    for number in range(120):
        await history.add(G, track(number))
    assert await history.latest(G) == track(119)
    assert await history.tracks(G) == [track(number) for number in range(119, 109, -1)]
    assert len(await history.tracks(G, 1000)) == 100
    await history.clear(G)
    assert await history.tracks(G) == []
    assert not await history.is_duplicate(G, id="id-119")


async def test_a_duplicate_is_known_by_id_or_url_within_a_window(anywhere):
    history = anywhere.history
    await history.add(G, track(1))
    assert await history.is_duplicate(G, id="id-1")
    assert await history.is_duplicate(G, url="https://example.org/1")
    assert await history.is_duplicate(G, id="other", url="https://example.org/1")
    assert not await history.is_duplicate(G, id="https://example.org/1", url="id-1")
    assert not await history.is_duplicate(G)
    assert not await history.is_duplicate(G + 1, id="id-1")
    await asyncio.sleep(0.02)
    assert not await history.is_duplicate(G, id="id-1", window=0.01)
    await history.add(G, Track("long", "Long", url="https://example.org/" + "x" * 4000))
    assert await history.is_duplicate(G, url="https://example.org/" + "x" * 4000)
    assert not await history.is_duplicate(G, url="https://example.org/" + "x" * 4001)


async def test_a_duplicate_check_reads_no_list(anywhere):
    for number in range(30):
        await anywhere.history.add(G, track(number))
    before = {kind: each.operations for kind, each in anywhere.statistics().operations.items()}
    assert await anywhere.history.is_duplicate(G, id="id-0", url="https://example.org/0")
    after = {kind: each.operations for kind, each in anywhere.statistics().operations.items()}
    assert {kind: count - before.get(kind, 0) for kind, count in after.items() if count != before.get(kind)} == {
        "GetField": 2
    }


async def test_what_was_played_most_is_told(anywhere):
    history = anywhere.history
    for number, author in [(1, "A"), (2, "B"), (1, "A"), (3, ""), (1, "A"), (2, "A")]:
        await history.add(G, track(number, author=author))
    assert await history.top_tracks(G, 2) == [Ranked("Song 1", 3), Ranked("Song 2", 2)]
    assert await history.top_artists(G) == [Ranked("A", 4), Ranked("B", 1)]
    metadata = TrackMetadata("A", "jazz", ("calm", "小明"), 7)
    await history.metadata.set("id-1", metadata)
    assert await history.metadata.get("id-1") == metadata


async def test_a_conversation_is_told_in_order(anywhere):
    talk = anywhere.conversations
    for number in range(60):
        await talk.add((U, "bot"), "user", f"今天 {number}")
    assert [turn.content for turn in await talk.history((U, "bot"))] == [f"今天 {number}" for number in range(10, 60)]
    assert [turn.content for turn in await talk.history((U, "bot"), 2)] == ["今天 58", "今天 59"]
    assert await talk.history((U, "other")) == []
    await talk.clear((U, "bot"))
    assert await talk.history((U, "bot")) == []


async def test_a_session_is_created_patched_and_ended(anywhere):
    sessions = anywhere.sessions
    assert await sessions.get(U, G) is None
    assert not await sessions.patch(U, G, volume=1)
    assert not await sessions.add_command(U, G, "play")
    assert not await sessions.touch(U, G)
    assert await sessions.get(U, G) is None
    assert await sessions.create(U, G, channel="c", volume=50) == ()
    assert await sessions.patch(U, G, volume=70)
    for number in range(12):
        assert await sessions.add_command(U, G, f"command {number}")
    expected = Session({"channel": "c", "volume": 70}, [f"command {number}" for number in range(11, 1, -1)])
    assert await sessions.get(U, G) == expected
    assert (await sessions.active(G), await sessions.guilds(U)) == ([str(U)], [str(G)])
    await sessions.end(U, G)
    assert (await sessions.get(U, G), await sessions.active(G), await sessions.guilds(U)) == (None, [], [])
    await sessions.create(U, G)
    assert await sessions.get(U, G) == Session({}, [])


async def test_the_session_used_least_recently_ends_for_one_too_many(anywhere):
    sessions = anywhere.sessions
    for guild in range(5):
        await sessions.create(U, guild, number=guild)
    assert await sessions.touch(U, 0)
    assert await sessions.create(U, 5) == ("1",)
    assert await sessions.guilds(U) == ["5", "0", "4", "3", "2"]
    assert await sessions.get(U, 1) is None
    assert await sessions.active(1) == []
    assert await sessions.create(U, 1) == ("2",)
    assert await sessions.get(U, 1) == Session({}, [])


async def test_of_50_logins_at_once_exactly_as_many_stay_as_may(anywhere):
    gone = await asyncio.gather(*(anywhere.sessions.create(U, guild) for guild in range(50)))
    held = await anywhere.sessions.guilds(U)
    assert len(held) == 5
    assert sorted(map(int, [*held, *(guild for each in gone for guild in each)])) == list(range(50))
    there = await asyncio.gather(*(anywhere.sessions.get(U, guild) for guild in range(50)))
    assert sorted(held, key=int) == [str(guild) for guild, each in enumerate(there) if each is not None]


async def test_who_is_active_in_a_guild_was_there_lately(anywhere):
    sessions = Sessions(anywhere)
    for user in (1, 2, 3):
        await sessions.create(user, G)
    await sessions.add_command(1, G, "play")
    assert await sessions.active(G) == ["1", "3", "2"]
    await asyncio.sleep(0.02)
    assert await sessions.active(G, within=0.01) == []


async def test_a_queue_session_is_changed_only_while_there_is_one(anywhere):
    sessions = anywhere.queue_sessions
    assert not await sessions.patch(G, volume=1)
    assert await sessions.get(G) is None
    assert not await sessions.touch(G)
    await sessions.create(G, voice_channel="v", position=0)
    assert await sessions.patch(G, position=4)
    assert await sessions.touch(G)
    assert await sessions.get(G) == {"voice_channel": "v", "position": 4}
    await sessions.end(G)
    assert not await sessions.patch(G, position=5)
    assert await sessions.get(G) is None


async def test_a_snapshot_is_restored_by_exactly_one_of_8(anywhere):
    content = {"current": track(1).title, "upcoming": [1, 2, 3]}
    await anywhere.snapshots.save(G, content)
    assert (await anywhere.snapshots.get(G)).content == content
    restored = await asyncio.gather(*(anywhere.snapshots.restore(G) for _ in range(8)))
    assert [each.content for each in restored if each is not None] == [content]
    assert await anywhere.snapshots.get(G) is None


async def test_a_snapshot_that_is_too_old_is_not_restored(anywhere):
    clock = Clock()
    snapshots = Snapshots(anywhere, clock)
    await snapshots.save(G, "x")
    clock.advance(1799)
    assert (await snapshots.restore(G)).content == "x"
    await snapshots.save(G, "x")
    clock.advance(1801)
    assert await snapshots.restore(G) is None
    await snapshots.save(G, "x")
    await snapshots.delete(G)
    assert await snapshots.restore(G) is None


async def test_identities_are_of_one_room_whatever_it_is_called(anywhere):
    identities = anywhere.identities
    for room in ODD:
        await identities.write(room, "p:1", {"name": "José 小明", "room": room})
    for room in ODD:
        assert await identities.all(room) == {"p:1": {"name": "José 小明", "room": room}}
    assert await identities.read("r?", "p:1") == {"name": "José 小明", "room": "r?"}
    assert await identities.read("r?", "p") is None
    await identities.remove("r*", "p:1")
    assert [room for room in ODD if not await identities.all(room)] == ["r*"]
    assert await identities.remove_stale("r?") == 0


async def test_a_room_shows_one_thing_of_each_kind_with_its_owner(anywhere):
    rooms = anywhere.rooms
    assert await rooms.active("r", "note") is None
    await rooms.open("r", "note", "note-A", "u-1")
    await rooms.open("r", "applet", "applet-1")
    assert await rooms.active("r", "note") == Active("note-A", "u-1")
    assert await rooms.active("r", "applet") == Active("applet-1", "unknown")
    await rooms.open("r", "note", "note-B", "u-2")
    assert not await rooms.close("r", "note", "note-A")
    assert await rooms.active("r", "note") == Active("note-B", "u-2")
    assert await rooms.close("r", "note", "note-B")
    assert await rooms.active("r", "note") is None
    assert await rooms.mode("r") == "home"
    await rooms.set_mode("r", "work")
    assert await rooms.mode("r") == "work"
    await rooms.close("r", "applet")
    await rooms.open("r", "note", "note-C")
    await rooms.clear("r")
    assert (await rooms.active("r", "note"), await rooms.mode("r")) == (None, "home")


async def test_a_user_is_in_one_room_and_leaves_only_that(anywhere):
    rooms = anywhere.rooms
    await rooms.move(("tenant", "u"), "r1")
    await rooms.move(("tenant", "u"), "r2")
    assert not await rooms.leave(("tenant", "u"), "r1")
    assert await rooms.room_of(("tenant", "u")) == "r2"
    assert await rooms.leave(("tenant", "u"), "r2")
    assert await rooms.room_of(("tenant", "u")) is None
    await rooms.set_config("r1", {"persona": "Pearl"})
    assert await rooms.config("r1") == {"persona": "Pearl"}
    assert await rooms.config("r2") is None
    async with aclosing(rooms.watch_config("r1")) as configs:
        assert await anext(configs) == {"persona": "Pearl"}
        await rooms.set_config("r1", {"persona": "Ruby"})
        assert await anext(configs) == {"persona": "Ruby"}


async def test_a_room_has_one_session_which_starts_runs_and_ends(anywhere):
    sessions = anywhere.room_sessions
    assert await sessions.holder("r?") is None
    claims = await asyncio.gather(*(sessions.claim("r?", f"s-{number}") for number in range(10)))
    (first,) = {claim.owner for claim in claims}
    assert [claim.granted for claim in claims].count(True) == 1
    assert (await sessions.holder("r?")).remaining == pytest.approx(60, abs=2)
    for call in (sessions.run, sessions.keep, sessions.end):
        assert not await call("r?", "stranger")
    assert await sessions.run("r?", first)
    held = await sessions.holder("r?")
    assert (held.owner, held.phase, held.remaining) == (first, "running", pytest.approx(86_400, abs=2))
    assert (await sessions.claim("r*", "other")).granted
    assert await sessions.end("r?", first)
    assert await sessions.holder("r?") is None
    assert (await sessions.holder("r*")).owner == "other"


async def test_who_is_silent_loses_the_room_to_the_next_and_cannot_end_it(anywhere):
    sessions, quick = anywhere.room_sessions, RoomSessions(anywhere, stale=0.05)
    assert (await sessions.claim("r", "old")).granted
    assert await sessions.run("r", "old")
    await asyncio.sleep(0.06)
    assert not (await sessions.claim("r", "new")).granted
    taken = await quick.claim("r", "new")
    assert (taken.granted, taken.phase) == (True, "pending")
    assert not await sessions.keep("r", "old")
    assert not await sessions.end("r", "old")
    assert (await sessions.holder("r")).owner == "new"


async def test_while_redis_is_away_a_room_is_neither_free_nor_taken(server):
    async with FaultProxy(server.url) as proxy, state_at(proxy.url, namespace="away") as state:
        proxy.refuse()
        proxy.reset()
        await until(lambda: state.mode is Mode.DEGRADED)
        sessions = state.room_sessions
        for call in (sessions.claim, sessions.run, sessions.keep, sessions.end):
            with pytest.raises(StoreUnavailable):
                await call("r", "s")
        with pytest.raises(StateUnavailable):
            await sessions.holder("r")


async def test_a_ban_keeps_a_user_out_for_as_long_as_it_says(anywhere):
    clock = Clock()
    bans = Bans(anywhere, clock)
    assert await bans.get("u", "r1") is None
    await bans.ban("u", 300, by="mod", reason="loud", room="r1")
    clock.advance(100)
    assert await bans.get("u", "r1") == ("mod", "loud", pytest.approx(200))
    assert await bans.get("u", "r2") is None
    assert await bans.get("u") is None
    await bans.ban("u", 900, by="admin")
    assert (await bans.get("u", "r1")).by == "admin"
    assert (await bans.get("u")).remaining == pytest.approx(900)
    await bans.ban("u", None, by="owner", room="r1")
    assert await bans.get("u", "r1") == ("owner", "", None)
    await bans.lift("u", "r1")
    assert (await bans.get("u", "r1")).by == "admin"
    clock.advance(901)
    assert await bans.get("u", "r1") is None


async def test_services_are_made_once(anywhere):
    names = ["bans", "conversations", "guilds", "history", "identities", "queue_sessions", "rooms", "sessions"]
    for name in (*names, "room_sessions", "snapshots"):
        assert getattr(anywhere, name) is getattr(anywhere, name)


@pytest.mark.parametrize("id", ["a:b/c", "?*[x]{y}%", "line\nbreak", "部屋", "x" * 500, -1, 2**70])
async def test_any_id_is_only_itself(anywhere, id):
    await anywhere.guilds.update(id, volume=1)
    await anywhere.sessions.create(id, 1, x=1)
    await anywhere.rooms.move(id, "room")
    await anywhere.bans.ban(id, 60, by="mod")
    assert (await anywhere.guilds.settings(id))["volume"] == 1
    assert await anywhere.sessions.guilds(id) == ["1"]
    assert await anywhere.rooms.room_of(id) == "room"
    assert (await anywhere.bans.get(id, "room")).by == "mod"
    assert await anywhere.bans.get(f"{id}?") is None


@pytest.mark.parametrize("id", ["", "x" * 10_000, "\ud800"], ids=["empty", "long", "surrogate"])
async def test_an_id_that_cannot_be_used_is_an_error_before_anything_is_written(anywhere, id):
    for call in (
        anywhere.guilds.update(id, volume=1),
        anywhere.history.add(id, track(1)),
        anywhere.sessions.create(id, 1),
        anywhere.sessions.create(1, id),
        anywhere.queue_sessions.create(id),
        anywhere.snapshots.save(id, 1),
        anywhere.identities.write(id, "p", {}),
        anywhere.identities.write("r", id, {}),
        anywhere.rooms.open(id, "note", "x"),
        anywhere.bans.ban(id, 1, by="x"),
        anywhere.inboxes.send(id, 1),
    ):
        with pytest.raises(ValueError, match=r"id|field"):
            await call
    assert await anywhere.identities.all("r") == {}
    assert await anywhere.sessions.guilds(1) == []
    for user, guild in (("x" * 513, 1), (1, "x" * 513)):
        with pytest.raises(ValueError, match="1 to 512"):
            await anywhere.sessions.create(user, guild, x=1)
        assert await anywhere.fields("session_fields", object, ttl=86_400).all((user, guild)) == {}
