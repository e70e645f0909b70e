"""`polly-state ping`, `health` and `import`: what they answer, and with which exit code."""

from __future__ import annotations

import json

import pytest
from redis import Redis

from polly_state.testing import Server

WORKED, FAILED, MISUSED = 0, 1, 2

COMMANDS = [("ping",), ("health",), ("import", __file__), ("demo", "--seconds", "1")]


def lines(text):
    return [line for line in text.splitlines() if line]


@pytest.fixture
def guarded(binary):
    with Server(binary, password="s3cret") as server:
        yield server


@pytest.fixture
def preferences(tmp_path):
    file = tmp_path / "preferences.json"
    file.write_text('{"1:MyBot": true, "1:namespace:bot:v1": false, "2:MyBot": true}')
    return file


def test_help_documents_the_exit_codes(polly):
    found = polly("--help")
    assert found.returncode == WORKED
    for code in (WORKED, FAILED, MISUSED):
        assert f"\n  {code}  " in found.stdout


@pytest.mark.parametrize("words", [(), ("nonsense",), ("import",), ("ping", "extra")])
def test_wrong_arguments_are_misuse(polly, words):
    found = polly(*words)
    assert found.returncode == MISUSED
    assert found.stdout == ""
    assert "usage: polly-state" in found.stderr


@pytest.mark.parametrize("seconds", ["0", "-1", "1e9", "nan", "soon"])
def test_the_demo_takes_from_one_second_to_ten_minutes(polly, seconds):
    found = polly("demo", "--seconds", seconds)
    assert found.returncode == MISUSED
    assert "must be a number from 1 to 600" in found.stderr


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("REDIS_URL", "ftp://:s3cret@host"),
        ("REDIS_URL", "redis://:s3cret@host?retries=s3cret"),
        ("USE_REDIS", "s3cret"),
    ],
)
def test_an_unusable_variable_is_named_and_not_repeated(polly, words, name, text):
    found = polly(*words, **{name: text})
    assert found.returncode == MISUSED
    assert found.stdout == ""
    assert found.stderr.startswith(f"polly-state: {name}: ")
    assert len(lines(found.stderr)) == 1
    assert "s3cret" not in found.stderr


@pytest.mark.parametrize("words", [("ping",), ("import", __file__), ("demo", "--seconds", "1")])
def test_a_redis_that_is_away_is_one_line_and_exit_1(polly, nowhere, words):
    found = polly(*words, REDIS_URL=nowhere)
    assert found.returncode == FAILED
    assert found.stdout == ""
    assert found.stderr.startswith("polly-state: no connection to Redis at 127.0.0.1:")
    assert len(lines(found.stderr)) == 1
    assert "s3cret" not in found.stderr


@pytest.mark.parametrize("words", COMMANDS)
def test_a_wrong_password_is_told_and_not_echoed(polly, guarded, words):
    found = polly(*words, REDIS_URL=f"redis://:wr0ng@127.0.0.1:{guarded.port}/0")
    assert found.returncode == FAILED
    assert "refused the user name or password" in found.stdout + found.stderr
    assert "Traceback" not in found.stderr
    for secret in ("wr0ng", "s3cret"):
        assert secret not in found.stdout + found.stderr


def test_ping_tells_the_round_trip_without_the_password(polly, guarded):
    found = polly("ping", REDIS_URL=guarded.url)
    assert (found.returncode, found.stderr) == (WORKED, "")
    assert found.stdout.startswith(f"127.0.0.1:{guarded.port}/0 answers in ")
    assert "s3cret" not in found.stdout


@pytest.mark.parametrize("words", [("--json", "ping"), ("ping", "--json")])
def test_json_is_asked_for_before_or_after_the_command(polly, own_server, words):
    found = json.loads(polly(*words, REDIS_URL=own_server.url).stdout)
    assert found["address"] == f"127.0.0.1:{own_server.port}/0"
    assert 0 < found["ms"] < 5000


def test_ping_without_a_redis_says_what_to_set(polly):
    found = polly("ping")
    assert (found.returncode, found.stdout) == (FAILED, "")
    assert found.stderr == "polly-state: no Redis is configured; set REDIS_URL\n"


def test_health_of_a_redis_that_answers(polly, own_server):
    found = polly("health", "--json", REDIS_URL=own_server.url)
    assert (found.returncode, found.stderr) == (WORKED, "")
    assert json.loads(found.stdout) == {
        "ready": True,
        "mode": "connected",
        "redis_available": True,
        "pending": 0,
        "address": f"127.0.0.1:{own_server.port}/0",
        "reason": None,
    }


def test_health_without_a_redis_is_ready(polly):
    found = polly("health", "--json")
    assert found.returncode == WORKED
    facts = json.loads(found.stdout)
    assert (
        facts["ready"],
        facts["mode"],
        facts["redis_available"],
        facts["address"],
    ) == (True, "embedded", False, None)


def test_health_while_redis_is_away_is_degraded_and_ready(polly, nowhere):
    found = polly("health", "--json", REDIS_URL=nowhere)
    assert (found.returncode, found.stderr) == (WORKED, "")
    facts = json.loads(found.stdout)
    assert (facts["ready"], facts["mode"], facts["redis_available"]) == (True, "degraded", False)
    assert "no connection" in facts["reason"]
    assert "s3cret" not in found.stdout


def test_health_is_not_ready_while_a_required_redis_is_away(polly, nowhere):
    found = polly("health", "--json", REDIS_URL=nowhere, POLLY_STATE_REQUIRED="true")
    assert found.returncode == FAILED
    facts = json.loads(found.stdout)
    assert (facts["ready"], facts["mode"]) == (False, "degraded")


def test_health_is_not_ready_with_a_wrong_password(polly, guarded):
    found = polly("health", "--json", REDIS_URL=f"redis://127.0.0.1:{guarded.port}")
    assert found.returncode == FAILED
    facts = json.loads(found.stdout)
    assert (
        facts["ready"],
        facts["mode"],
        facts["redis_available"],
    ) == (False, "misconfigured", False)


def test_health_for_people_is_a_line_for_each_fact(polly, own_server):
    found = polly("health", REDIS_URL=own_server.url)
    assert lines(found.stdout)[:4] == [
        "ready: yes",
        "mode: connected",
        "redis available: yes",
        "pending: 0",
    ]


def test_import_writes_preferences_and_counts_them(polly, own_server, preferences):
    found = polly("import", preferences, REDIS_URL=own_server.url)
    assert (found.returncode, found.stderr) == (WORKED, "")
    assert found.stdout == "imported 3 preferences of 2 users\n"
    with Redis.from_url(own_server.url) as redis:
        held = redis.hgetall("polly:preferences:{1}")
    assert held == {b"MyBot": b"true", b"namespace:bot:v1": b"false"}


def test_import_counts_in_json(polly, own_server, preferences):
    found = polly("import", preferences, "--json", REDIS_URL=own_server.url)
    assert json.loads(found.stdout) == {"users": 2, "preferences": 3}


def test_import_without_a_redis_is_refused(polly, preferences):
    found = polly("import", preferences)
    assert (found.returncode, found.stdout) == (FAILED, "")
    assert "set REDIS_URL" in found.stderr


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not a JSON file"),
        ("\xff", "not a JSON file"),
        ("", "not a JSON file"),
        ("[]", "expected an object"),
        ('{"1:MyBot": true, "1:other": 1}', "entry 2"),
        ('{"1:MyBot": true, "MyBot": true}', "entry 2"),
        ('{"1:MyBot": true, "1:": true}', "entry 2"),
        ('{"1:MyBot": true, "-1:MyBot": true}', "entry 2"),
    ],
)
def test_a_file_that_is_not_right_is_told_and_nothing_is_written(polly, own_server, tmp_path, content, complaint):
    file = tmp_path / "preferences.json"
    file.write_bytes(content.encode("latin-1"))
    found = polly("import", file, REDIS_URL=own_server.url)
    assert (found.returncode, found.stdout) == (FAILED, "")
    assert found.stderr.startswith(f"polly-state: {file}: ")
    assert complaint in found.stderr
    assert len(lines(found.stderr)) == 1
    with Redis.from_url(own_server.url) as redis:
        assert [key for key in redis.scan_iter() if b":~" not in key] == []


def test_a_file_that_cannot_be_read_is_told(polly, own_server, tmp_path):
    for path in (tmp_path / "missing.json", tmp_path):
        found = polly("import", path, REDIS_URL=own_server.url)
        assert (found.returncode, found.stdout) == (FAILED, "")
        assert found.stderr.startswith(f"polly-state: {path}: ")
        assert len(lines(found.stderr)) == 1
