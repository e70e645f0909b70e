"""The benchmarks measure what they say: everybody has turns, and nobody is left out silently."""

from __future__ import annotations

import json
import sys

import pytest
from redis.asyncio import Redis

from benchmarks import near_cache
from benchmarks.__main__ import main
from benchmarks.contestants import CONTESTANTS
from benchmarks.run import Report, Window, opened, paired, row, turns
from benchmarks.values import IDS

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
