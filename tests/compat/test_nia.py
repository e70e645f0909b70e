"""The voice bot's former samples run after changing only the import: with a Redis, with a directory, with neither."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from pathlib import Path

import pytest

from polly_state import BreakerSettings, ConfigurationError, Mode, Settings
from polly_state.compat import nia
from polly_state.compat.bridge import Bridge
from polly_state.compat.nia import NiaClient
from polly_state.services.inboxes import Letter
from polly_state.testing import FaultProxy
from tests.outages import settings_for, until

HERE = Path(__file__).parent
SAMPLES = HERE / "nia_samples.md"
ROOT = HERE.parent.parent
ODD = ["r?", "r*", "r[1]", "r1", "https://example.org/部屋/"]


@pytest.fixture(params=["redis", "directory", "neither"])
def environ(request, tmp_path):
    if request.param == "neither":
        return {}
    if request.param == "directory":
        return {"POLLY_STATE_DIR": str(tmp_path / "state")}
    url = request.getfixturevalue("server").url
    return {"USE_REDIS": "true", "REDIS_URL": url, "POLLY_STATE_NAMESPACE": f"nia-{secrets.token_hex(4)}"}


async def run(environ):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        HERE / "run_samples.py",
        SAMPLES,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 40)
    assert (process.returncode, err.decode()) == (0, "")
    return json.loads(out)


@pytest.mark.blocking
async def test_every_sample_runs(environ):
    shared = bool(environ)
    assert await run(environ) == {
        "samples": 6,
        "available": "REDIS_URL" in environ,
        "functions": 7 if shared else 0,
        "to_file": 0 if shared else 1,
        "participants": ["user1", "user2"],
        "pid": 777,
        "identity": "John",
        "identities": 1,
        "messages": ["Hello bot!"],
        "heard": ["message 0", "message 1", "message 2"] if shared else [],
    }


@pytest.mark.blocking
async def test_another_process_sees_what_one_has_left(server, tmp_path):
    namespace = f"nia-{secrets.token_hex(4)}"
    for settings in (Settings.from_url(server.url, namespace=namespace), Settings(directory=tmp_path / "state")):
        one, two = Bridge(settings), Bridge(settings)
        try:
            client, other = NiaClient(one), NiaClient(two)
            await client.send_heartbeat(1, "room", ["a"])
            assert (await other.get_heartbeat(1))["room_url"] == "room"
            assert await other.get_heartbeat(2) is None
            for room in ODD:
                await client.write_identity(room, "p:1", {"name": room})
            for room in ODD:
                (identity,) = await other.scan_identities(room)
                assert (identity["name"], identity["participant_id"], identity["room_url"]) == (room, "p:1", room)
            assert await other.cleanup_expired_identities("r?") == 0
            for number in range(5):
                await client.send_admin_message("room", f"{number}")
            assert [each["message"] for each in await other.get_admin_messages("room")] == list("01234")
            assert await client.get_admin_messages("room") == []
        finally:
            one.close()
            two.close()


@pytest.mark.blocking
async def test_what_is_left_in_an_outage_is_there_after_it(server):
    namespace = f"nia-{secrets.token_hex(4)}"
    quick = BreakerSettings(probe_delay=0.02, probe_delay_cap=0.05)
    async with FaultProxy(server.url) as proxy:
        bridge = Bridge(settings_for(proxy.url, namespace=namespace, breaker=quick))
        other = Bridge(settings_for(server.url, namespace=namespace))
        try:
            client = NiaClient(bridge)
            assert await client.ping()
            proxy.refuse()
            proxy.reset()
            state = await bridge.run(_itself)
            await until(lambda: state.mode is Mode.DEGRADED)
            assert not await client.ping()
            await client.send_heartbeat(1, "room", ["a"])
            await client.write_identity("room", "p", {"name": "x"})
            await client.send_admin_message(1, "hello")
            assert (await client.get_heartbeat(1))["participants"] == ["a"]
            proxy.heal()
            await until(lambda: state.mode is Mode.CONNECTED)
            there = NiaClient(other)
            assert (await there.get_heartbeat(1))["participants"] == ["a"]
            assert [each["name"] for each in await there.scan_identities("room")] == ["x"]
            assert [each["message"] for each in await there.get_admin_messages(1)] == ["hello"]
        finally:
            bridge.close()
            other.close()


@pytest.mark.blocking
async def test_a_bridge_serves_loops_and_threads_and_ends_with_what_was_posted(tmp_path):
    settings = Settings(directory=tmp_path / "state")
    bridge = Bridge(settings)
    for number in range(20):
        bridge.post(lambda state, number=number: state.map("x", int).set(number, number))
    assert await asyncio.to_thread(bridge.wait, lambda state: state.map("x", int).get(3)) == 3
    bridge.post(lambda state: state.map("x", int).set("last", 1))
    bridge.close()
    bridge.close()
    again = Bridge(settings)
    assert await again.run(lambda state: state.map("x", int).get("last")) == 1
    again.close()


@pytest.mark.blocking
def test_what_is_posted_without_a_loop_is_done_or_raises():
    bridge = Bridge(Settings())
    bridge.post(lambda state: state.map("x", int).set("a", 1))
    assert bridge.wait(lambda state: state.map("x", int).get("a")) == 1
    with pytest.raises(ValueError, match=r"empty|1 to"):
        bridge.post(lambda state: state.map("x", int).set("", 1))
    bridge.close()


@pytest.mark.blocking
async def test_a_start_that_fails_is_told_to_every_caller(tmp_path):
    (tmp_path / "file").write_text("in the way")
    bridge = Bridge(Settings(directory=tmp_path / "file" / "state"))
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            await NiaClient(bridge).send_heartbeat(1, "room", [])
    bridge.close()


async def _itself(state):
    return state


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """The bridge that the functions of the module share, over a directory of this test alone."""
    monkeypatch.setenv("POLLY_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("REDIS_URL", raising=False)
    nia._made.cache_clear()
    yield nia._bridge()
    nia._bridge().close()
    nia._made.cache_clear()


@pytest.mark.blocking
async def test_a_message_whose_handler_fails_is_kept_and_the_next_one_is_heard(shared, caplog):
    heard = []

    async def handler(message):
        heard.append(message["message"])
        if message["message"] == "bad":
            raise RuntimeError(message["message"])

    write, follow = nia.get_write_admin_message(), nia.get_admin_message_polling_loop()
    following = asyncio.create_task(follow("room", handler))
    for text in ("good", "bad", "better"):
        write("room", text)
    await until(lambda: len(heard) == 3)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert sorted(heard) == ["bad", "better", "good"]
    left = await shared.run(lambda state: state.queue("inboxes", Letter, ttl=3600).waiting("admin:room"))
    assert "bad" in [message.value.content["message"] for message in left]
    assert "RuntimeError" in caplog.text
    assert "bad" not in caplog.text


@pytest.mark.blocking
async def test_what_is_sent_on_an_event_loop_without_waiting_tells_of_errors_in_the_log(shared, caplog):
    send = nia.get_heartbeat_sender()
    send("", "room", [])
    await until(lambda: "ValueError" in caplog.text)
    send(1, "room", ["a"])
    await until(lambda: nia.get_heartbeat_reader()(1) is not None)
