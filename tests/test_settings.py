"""Settings: every variable, and errors that name it and repeat nothing."""

from __future__ import annotations

import dataclasses
import traceback

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from polly_state import Address, Bounds, BreakerSettings, ConfigurationError, Deadlines, PollyState, Settings
from polly_state.address import Transport


def env(**variables):
    return Settings.from_env(variables)


def test_an_empty_environment_means_no_redis():
    assert env().embedded
    assert env() == Settings()


@pytest.mark.parametrize("name", ["REDIS_URL", "VALKEY_URL"])
def test_a_url_is_enough(name):
    assert env(**{name: "redis://h:1/2"}).address == Address(host="h", port=1, db=2)


def test_two_urls_must_not_differ():
    assert env(REDIS_URL="redis://h", VALKEY_URL="redis://h").address == Address(host="h")
    with pytest.raises(ConfigurationError, match="REDIS_URL, VALKEY_URL"):
        env(REDIS_URL="redis://h", VALKEY_URL="redis://other")


def test_the_parts_make_an_address():
    made = env(
        REDIS_HOST="h",
        REDIS_PORT="1",
        REDIS_DB="2",
        REDIS_USERNAME="u",
        REDIS_PASSWORD="p:/@",
        REDIS_TLS="true",
    ).address
    assert (
        made.transport,
        made.host,
        made.port,
        made.db,
        made.username,
        made.password.reveal(),
    ) == (Transport.TLS, "h", 1, 2, "u", "p:/@")
    assert env(REDIS_HOST="h").address == Address(host="h")


def test_a_url_wins_over_the_parts():
    assert env(REDIS_URL="redis://a", REDIS_HOST="b", REDIS_PORT="7").address == Address(host="a")


@pytest.mark.parametrize("use", ["false", "0", "no", "off", "FALSE", " False "])
def test_use_redis_false_wins_over_everything(use):
    assert env(USE_REDIS=use, REDIS_URL="redis://h", REDIS_HOST="h").embedded


@pytest.mark.parametrize("use", ["true", "1", "yes", "on", "auto", "AUTO", ""])
def test_use_redis_true_or_auto_uses_it(use):
    assert env(USE_REDIS=use, REDIS_URL="redis://h").address == Address(host="h")


def test_use_redis_true_needs_a_redis():
    with pytest.raises(ConfigurationError, match=r"USE_REDIS: .*REDIS_URL"):
        env(USE_REDIS="true")
    assert env(USE_REDIS="auto").embedded


def test_the_rest_has_names_of_its_own():
    made = env(
        POLLY_STATE_NAMESPACE="bot.1",
        CONTAINER_ID="c1",
        POLLY_STATE_REQUIRED="yes",
        POLLY_STATE_DEADLINE="0.5",
        POLLY_STATE_CONNECT_DEADLINE="1.5",
        POLLY_STATE_VALUE_BYTES="1000",
        POLLY_STATE_LOCAL_ENTRIES="10",
        POLLY_STATE_LOCAL_BYTES="20000",
    )
    assert (made.namespace, made.container_id, made.required) == ("bot.1", "c1", True)
    assert (made.deadlines.operation, made.deadlines.connect) == (0.5, 1.5)
    assert (made.bounds.value_bytes, made.bounds.local_entries, made.bounds.local_bytes) == (1000, 10, 20_000)


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_an_empty_variable_counts_as_not_set(blank):
    names = ["REDIS_URL", "REDIS_HOST", "REDIS_PORT", "USE_REDIS", "POLLY_STATE_DEADLINE", "POLLY_STATE_NAMESPACE"]
    assert env(**dict.fromkeys(names, blank)) == Settings()


BAD = [
    ("REDIS_URL", "http://h"),
    ("REDIS_URL", "not a url"),
    ("VALKEY_URL", "redis://h:x"),
    ("REDIS_PORT", "http"),
    ("REDIS_PORT", "-1"),
    ("REDIS_PORT", "0"),
    ("REDIS_PORT", "99999"),
    ("REDIS_PORT", "٣"),
    ("REDIS_DB", "one"),
    ("REDIS_DB", "1.5"),
    ("REDIS_TLS", "maybe"),
    ("USE_REDIS", "sometimes"),
    ("POLLY_STATE_REQUIRED", "maybe"),
    ("POLLY_STATE_DEADLINE", "fast"),
    ("POLLY_STATE_DEADLINE", "0"),
    ("POLLY_STATE_DEADLINE", "-1"),
    ("POLLY_STATE_DEADLINE", "nan"),
    ("POLLY_STATE_DEADLINE", "inf"),
    ("POLLY_STATE_DEADLINE", "1e9"),
    ("POLLY_STATE_CONNECT_DEADLINE", "0"),
    ("POLLY_STATE_VALUE_BYTES", "1MB"),
    ("POLLY_STATE_VALUE_BYTES", "0"),
    ("POLLY_STATE_VALUE_BYTES", "99999999"),
    ("POLLY_STATE_LOCAL_ENTRIES", "many"),
    ("POLLY_STATE_LOCAL_ENTRIES", "0"),
    ("POLLY_STATE_LOCAL_BYTES", "-5"),
    ("POLLY_STATE_LOCAL_BYTES", "0"),
    ("POLLY_STATE_NAMESPACE", "a b"),
    ("POLLY_STATE_NAMESPACE", "a:b"),
    ("POLLY_STATE_NAMESPACE", "{x}"),
]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_an_error_names_the_variable(name, text):
    with pytest.raises(ConfigurationError) as refused:
        env(**{"REDIS_HOST": "h", name: text})
    assert name in str(refused.value)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", "{", "*", "a\n"])
def test_a_namespace_is_plain(name):
    with pytest.raises(ConfigurationError, match="namespace"):
        Settings(namespace=name)


@pytest.mark.parametrize(
    "part",
    [
        lambda: Settings(bounds=Bounds(value_bytes=0)),
        lambda: Settings(bounds=Bounds(value_bytes=9 * 1024 * 1024)),
        lambda: Settings(deadlines=Deadlines(operation=0)),
        lambda: Settings(deadlines=Deadlines(connect=-1)),
        lambda: Settings(deadlines=Deadlines(close=0)),
        lambda: Settings(deadlines=Deadlines(operation=float("nan"))),
        lambda: Settings(bounds=Bounds(local_entries=0)),
        lambda: Settings(bounds=Bounds(in_flight_commands=0)),
        lambda: Settings(bounds=Bounds(dedicated_connections=0)),
        lambda: Settings(breaker=BreakerSettings(window=0)),
        lambda: Settings(breaker=BreakerSettings(consecutive_failures=0)),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_said(part):
    with pytest.raises(ConfigurationError):
        part()


def test_settings_are_data():
    made = Settings.from_url("redis://h", namespace="n", required=True)
    assert (made.namespace, made.required, made.address.host) == ("n", True, "h")
    assert hash(made) == hash(dataclasses.replace(made))
    with pytest.raises(AttributeError):
        made.namespace = "m"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    password=st.text(st.characters(min_codepoint=33, exclude_categories=["Cs"]), max_size=20),
    name=st.sampled_from(["REDIS_DB", "REDIS_TLS", "USE_REDIS", "POLLY_STATE_DEADLINE", "REDIS_PORT", "CONTAINER_ID"]),
    text=st.text(max_size=5),
)
def test_a_password_is_never_shown(password, name, text):
    secret = f"S3cr3t{password}"
    variables = {"REDIS_HOST": "h", "REDIS_PASSWORD": secret, name: text}
    try:
        made = Settings.from_env(variables)
        said = f"{made} {made!r} {PollyState(made)!r}"
    except ConfigurationError as error:
        said = "".join(traceback.format_exception(error)) + repr(error.__context__)
    assert "S3cr3t" not in said


def test_a_password_in_the_wrong_variable_is_not_repeated():
    # Put together here, since a traceback quotes the lines of this file.
    secret = f"S3cr{3}t"
    for name in ("REDIS_URL", "REDIS_PORT", "REDIS_DB", "REDIS_TLS", "USE_REDIS", "POLLY_STATE_DEADLINE"):
        with pytest.raises(ConfigurationError) as refused:
            env(**{"REDIS_HOST": "h", name: secret})
        assert secret not in "".join(traceback.format_exception(refused.value))
