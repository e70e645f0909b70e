"""Services used by several processes at once, and over outages: exact, and nothing lost."""

from __future__ import annotations

import asyncio

import pytest

from polly_state import Ack, Mode, PollyState, Settings, StateUnavailable
from polly_state.services.history import Track
from polly_state.services.sessions import Session
from polly_state.testing import FaultProxy, Server
from tests.outages import QUICK, in_thread, state_at, until
from tests.test_two_processes import workers
from tests.testing.wire import ask


@pytest.mark.blocking
async def test_48_users_of_4_processes_at_once_get_exact_answers(server, namespace):
    async with state_at(server.url, namespace=namespace) as state:
        await state.snapshots.save("guild", "upcoming")
        async with workers(server.url, namespace, "use_services", 12, at_once=12, processes=4) as run:
            reports = [report["results"] for report in await run()]
        heard = [[track for track, *_ in report] for report in reports]
        gone = {guild for report in reports for _, each, _ in report for guild in each}
        restored = [content for report in reports for *_, content in report if content is not None]

        tracks = [track.id for track in await state.history.tracks("guild", 100)]
        assert sorted(tracks) == sorted(track for each in heard for track in each)
        for own in heard:
            assert [track for track in reversed(tracks) if track in own] == own
        assert await state.history.is_duplicate("guild", id=heard[0][0])

        held = await state.sessions.guilds("user")
        assert (len(held), len(gone), set(held) & gone) == (5, 43, set())
        assert all([await state.sessions.get("user", guild) for guild in held])

        assert restored == ["upcoming"]
        assert await state.snapshots.get("guild") is None


async def use(state):
    """One write of every service."""
    await state.guilds.update("g", volume=70)
    await state.guilds.autoplay.add("g")
    await state.history.add("g", Track("id", "Song"))
    await state.conversations.add("c", "user", "hello")
    await state.sessions.create("u", "g", volume=1)
    await state.sessions.patch("u", "g", volume=2)
    await state.sessions.add_command("u", "g", "play")
    await state.queue_sessions.create("g", position=1)
    await state.queue_sessions.patch("g", position=2)
    await state.snapshots.save("g", "x")
    await state.identities.write("r?", "p", {"name": "x"})
    await state.rooms.open("r", "note", "A")
    await state.rooms.close("r", "note", "A")
    await state.rooms.open("r", "note", "B")
    await state.rooms.move("u", "r")
    await state.bans.ban("u", 300, by="mod")


async def look(state):
    """What every service has to say."""
    ban = await state.bans.get("u")
    return [
        (await state.guilds.settings("g"))["volume"],
        await state.guilds.autoplay.value("g"),
        await state.history.latest("g"),
        await state.history.is_duplicate("g", id="id"),
        [turn.content for turn in await state.conversations.history("c")],
        await state.sessions.get("u", "g"),
        await state.sessions.active("g"),
        await state.queue_sessions.get("g"),
        (await state.snapshots.get("g")).content,
        await state.identities.all("r?"),
        await state.rooms.active("r", "note"),
        await state.rooms.room_of("u"),
        None if ban is None else ban.by,
    ]


SEEN = [
    70,
    1,
    Track("id", "Song"),
    True,
    ["hello"],
    Session({"volume": 2}, ["play"]),
    ["u"],
    {"position": 2},
    "x",
    {"p": {"name": "x"}},
    ("B", "unknown"),
    "r",
    "mod",
]


async def know(state):
    """Read what the writes depend on: nothing is there."""
    for read in (
        state.guilds.settings("g"),
        state.guilds.autoplay.value("g"),
        state.history.tracks("g"),
        state.history.is_duplicate("g", id="id"),
        state.conversations.history("c"),
        state.sessions.get("u", "g"),
        state.sessions.active("g"),
        state.queue_sessions.get("g"),
        state.snapshots.get("g"),
        state.identities.all("r?"),
        state.rooms.active("r", "note"),
        state.bans.get("u"),
    ):
        await read


@pytest.mark.parametrize("disk", [False, pytest.param(True, marks=pytest.mark.blocking)], ids=["memory", "disk"])
async def test_every_service_goes_on_in_an_outage_and_nothing_is_lost(server, namespace, tmp_path, disk):
    directory = tmp_path / "journal" if disk else None
    async with (
        FaultProxy(server.url) as proxy,
        state_at(proxy.url, namespace=namespace, breaker=QUICK, directory=directory) as state,
        state_at(server.url, namespace=namespace) as other,
    ):
        await know(state)
        proxy.refuse()
        proxy.reset()
        await until(lambda: state.mode is Mode.DEGRADED)
        await use(state)
        assert await look(state) == SEEN
        with pytest.raises(StateUnavailable):
            await state.snapshots.restore("g")
        with pytest.raises(StateUnavailable):
            await state.bans.get("unseen")
        proxy.heal()
        await until(lambda: state.mode is Mode.CONNECTED)
        assert state.health().pending == 0
        for view in (state, other):
            assert await look(view) == SEEN
        assert (await other.snapshots.restore("g")).content == "x"
        assert await state.snapshots.restore("g") is None


@pytest.mark.blocking
async def test_a_directory_keeps_every_service_for_the_next_process(tmp_path):
    settings = Settings(directory=tmp_path / "state")
    async with PollyState(settings) as state:
        await use(state)
        assert await look(state) == SEEN
    async with PollyState(settings) as one, PollyState(settings) as two:
        assert await look(one) == SEEN
        restored = await asyncio.gather(*(view.snapshots.restore("g") for view in (one, two) * 4))
        assert len([each for each in restored if each is not None]) == 1
        gone = [await view.sessions.create("w", guild) for guild in range(5) for view in (one, two)]
        assert await one.sessions.guilds("w") == await two.sessions.guilds("w") == ["4", "3", "2", "1", "0"]
        assert set(gone) == {()}
        assert await two.sessions.create("w", 5) == ("0",)
    async with PollyState(settings) as state:
        assert await state.snapshots.get("g") is None
        assert await state.sessions.guilds("w") == ["5", "4", "3", "2", "1"]


async def test_logins_of_two_processes_in_an_outage_are_too_many_until_it_ends(server, namespace):
    async with (
        FaultProxy(server.url) as proxy,
        state_at(proxy.url, namespace=namespace, breaker=QUICK) as state,
        state_at(server.url, namespace=namespace) as other,
    ):
        await state.sessions.guilds("u")
        proxy.refuse()
        proxy.reset()
        await until(lambda: state.mode is Mode.DEGRADED)
        for guild in range(4):
            await state.sessions.create("u", f"here {guild}")
            await asyncio.sleep(0.003)
            await other.sessions.create("u", f"there {guild}")
            await asyncio.sleep(0.003)
        proxy.heal()
        await until(lambda: state.mode is Mode.CONNECTED)
        left = ["there 3", "here 3", "there 2", "here 2", "there 1"]
        assert await state.sessions.guilds("u") == await other.sessions.guilds("u") == left


@pytest.mark.blocking
async def test_a_server_that_forgets_gives_no_snapshot_out_twice(binary, namespace):
    with Server(binary) as server:
        async with state_at(server.url, namespace=namespace, breaker=QUICK) as state:
            assert await state.identities.read("r", "p") is None
            await state.identities.write("r", "p", {"name": "x"})
            assert await state.snapshots.save("g", "x") is Ack.REMOTE
            assert (await state.snapshots.restore("g")).content == "x"
            await asyncio.sleep(1.2)
            await in_thread(lambda: ask(server.url, "FLUSHALL"))
            async with asyncio.timeout(10):
                while await state.identities.read("r", "p") is None:
                    await asyncio.sleep(0.02)
            assert state.statistics().repair.resent > 0
            assert await state.snapshots.restore("g") is None
