"""The benchmarks measure what they say: everybody has turns, and nobody is left out silently."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time

import pytest
from redis.asyncio import Redis

from benchmarks import degraded_write, history, inbox, labels, near_cache, recovery, replay
from benchmarks.__main__ import main
from benchmarks.contestants import CONTESTANTS
from benchmarks.run import Plan, Report, Window, opened, paired, row, turns
from benchmarks.values import IDS
from benchmarks.watch import watched

pytestmark = pytest.mark.once

ABSENT = ("coredis", "glide", "cashews", "aiocache")


@pytest.fixture
def without_peers(monkeypatch):
    for name in ABSENT:
        monkeypatch.setitem(sys.modules, name, None)


def test_every_contestant_has_one_turn_in_each_round():
    names = ["ours", "redis_py", "limit"]
    order = list(turns(names, 20))
    rounds = [order[start : start + 3] for start in range(0, 60, 3)]
    assert all(sorted(names) == sorted(each) for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1


def test_a_ratio_is_the_median_of_the_rounds():
    assert paired([10, 90, 30], [10, 10, 10]) == 3.0


def test_a_row_holds_medians_in_microseconds():
    windows = [Window(10, seconds, 0.5, [0.001, 0.002]) for seconds in (1.0, 2.0, 5.0)]
    expected = {"ops_s": 5, "p50_us": 1000.0, "p99_us": 2000.0, "cpu_us": 50_000.0}
    assert expected.items() <= row("ours", "get", 1, windows).items()


@pytest.fixture
def quiet():
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.blocking
async def test_a_stall_is_what_another_task_waits():
    async with watched() as stall:
        await asyncio.sleep(0.01)
        time.sleep(0.05)  # noqa: ASYNC251 - the stall
        await asyncio.sleep(0.01)
    assert stall.longest > 0.04


@pytest.mark.blocking
async def test_what_an_outage_costs_is_measured_in_each_phase_and_nothing_is_lost(monkeypatch, quiet):
    monkeypatch.setattr(recovery, "IDS", 2)
    monkeypatch.setattr(recovery, "TASKS", 10)
    report = await recovery.run(Plan(1, 0.3))
    drains = [line for line in report.rows if line["op"] == "drain"]
    assert [(line["fault"], line["journal"]) for line in drains] == [
        ("killed", "memory"),
        ("killed", "directory"),
        ("frozen", "memory"),
        ("frozen", "directory"),
    ]
    assert all(line["lost"] == 0 < line["pending"] <= 3 * 2 * 10 for line in drains)
    assert all(line["answered"] > 0 for line in report.rows if line["op"] in recovery.PHASES)


@pytest.mark.blocking
async def test_messages_and_tracks_are_measured_beside_bare_commands(monkeypatch):
    monkeypatch.setattr(inbox, "DELIVERIES", 5)
    monkeypatch.setattr(history, "TASKS", (1, 3))
    found = await inbox.run(Plan(1, 0.02))
    assert {"through/redis_py@50", "delivery_p99/promise"} < set(found.ratios)
    assert [line["commands_s"] for line in found.rows if line["op"] == "idle"] == [0.0]
    found = await history.run(Plan(1, 0.01))
    assert {"ours_add/redis_py@1", "bare_add/redis_py@3", "ours_duplicate/redis_py@3"} < set(found.ratios)


async def test_what_is_not_there_is_lost(server):
    assert await recovery._lost(server.url, {"v:{nobody}": b"1", "s:{nobody}": b"true"}) == 2
    assert await replay._missing(server.url, 3) == 3


@pytest.mark.blocking
async def test_every_kept_write_is_replayed_beside_its_users(quiet):
    report = await replay.run(Plan(1, 0.02))
    assert [line["lost"] for line in report.rows] == [0] * 6
    assert all(line["kept_s"] > 0 for line in report.rows if line["op"] == "replay")


@pytest.mark.blocking
async def test_degraded_writes_are_held_against_the_promise_of_their_journal(quiet):
    report = await degraded_write.run(Plan(1, 0.01))
    assert {"set_100_p99/memory@1", "set_2000_p99/directory@50", "shared_100_paced_p99/directory@3"} < set(
        report.ratios
    )
    assert {line["refused"] for line in report.rows if "shared" not in line["op"]} == {0}


@pytest.mark.blocking
async def test_labels_are_measured_against_the_link_they_are_put_on():
    report = await labels.run(Plan(2, 0.005))
    assert {line["over_link_us"] for line in report.rows if line["contestant"] == "link"} == {0.0}
    assert {"labels/answer@1", "labels/whole@50", "cpu/unwatched@50"} < set(report.ratios)


@pytest.mark.blocking
async def test_a_peer_that_is_not_there_is_skipped_by_name(server, without_peers):
    report = Report("any")
    async with opened(server.url, report.skipped) as contestants:
        assert list(contestants) == ["ours", "redis_py", "limit", "limit_typed"]
    assert set(CONTESTANTS) - set(contestants) == set(report.skipped)
    assert all("ModuleNotFoundError" in reason for reason in report.skipped.values())


@pytest.mark.blocking
@pytest.mark.parametrize("value", near_cache.VALUES.values(), ids=near_cache.VALUES)
async def test_near_hits_that_are_measured_do_not_ask_the_server(server, value):
    async with Redis.from_url(server.url) as client, near_cache.ours(server.url) as make:
        job = make(value)
        await near_cache.warmed(job)
        before = (await client.info("commandstats"))["cmdstat_get"]["calls"]
        for user in IDS * 10:
            assert await job.get(user) == value
        # A started state asks for something of its own now and then.
        assert (await client.info("commandstats"))["cmdstat_get"]["calls"] - before < len(IDS)


@pytest.mark.blocking
def test_the_json_file_has_rows_and_ratios(tmp_path, capsys, without_peers):
    main(["latency", "--rounds", "2", "--seconds", "0.002", "--json", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["name"] == "latency"
    assert {"contestant", "op", "tasks", "fields", "ops_s", "p50_us", "p99_us", "cpu_us"} == set(report["rows"][0])
    assert report["ratios"]["p50/redis_py@1"] > 0
    assert "skipped  coredis: ModuleNotFoundError" in capsys.readouterr().out
