"""Addresses: what a URL means, and that no way of showing one shows a password."""

from __future__ import annotations

import copy
import pickle
import traceback
from urllib.parse import quote

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given, settings

from polly_state import Address, ConfigurationError, Secret, Settings
from polly_state.address import Transport

TRANSPORTS = {
    "redis://h": Transport.TCP,
    "valkey://h": Transport.TCP,
    "rediss://h": Transport.TLS,
    "valkeys://h": Transport.TLS,
    "REDISS://h": Transport.TLS,
    "unix:///run/r.sock": Transport.UNIX,
    "redis+unix:///run/r.sock": Transport.UNIX,
    "valkey+unix:///run/r.sock": Transport.UNIX,
    "memory://": Transport.MEMORY,
}


@pytest.mark.parametrize(("url", "transport"), TRANSPORTS.items())
def test_a_scheme_names_the_transport(url, transport):
    assert transport is Address.parse(url).transport


def test_a_url_gives_everything_there_is_to_know():
    address = Address.parse("rediss://bot%40x:p%2Fw@redis.example:6380/3?ssl_ca_certs=/etc/ca.pem")
    assert (address.host, address.port, address.db, address.username) == ("redis.example", 6380, 3, "bot@x")
    assert address.password.reveal() == "p/w"
    assert address.ca_file == "/etc/ca.pem"
    assert str(address) == "redis.example:6380/3"


def test_what_is_left_out_has_a_default():
    address = Address.parse("redis://")
    assert (
        address.host,
        address.port,
        address.db,
        address.username,
        address.password,
    ) == ("localhost", 6379, 0, None, None)


@pytest.mark.parametrize(
    ("url", "host"),
    [("redis://[::1]:7000", "::1"), ("redis://[fe80::1%25eth0]/1", "fe80::1%25eth0"), ("redis://10.0.0.1", "10.0.0.1")],
)
def test_a_host_may_be_a_number(url, host):
    assert host == Address.parse(url).host


@pytest.mark.parametrize(
    ("url", "db"), [("redis://h/7", 7), ("redis://h?db=7", 7), ("redis://h/", 0), ("unix:///s?db=2", 2)]
)
def test_a_database_is_a_number_in_the_path_or_a_parameter(url, db):
    assert db == Address.parse(url).db


def test_a_socket_path_is_decoded():
    address = Address.parse("unix://:pw@/run/my%20redis.sock?db=2")
    assert (address.path, address.db, address.password.reveal()) == ("/run/my redis.sock", 2, "pw")
    assert str(address) == "unix:/run/my redis.sock"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:6379",
        "http://h",
        "redis:h",
        "redis://h:port",
        "redis://h:99999",
        "redis://h:-1",
        "redis://[::1",
        "redis://h/x",
        "redis://h/-1",
        "redis://h/1/2",
        "redis://h/\u0661",
        "redis://h?db=x",
        "unix://",
        "unix:",
        "sqlite",
        "redis://h#fragment",
    ],
)
def test_what_cannot_be_understood_is_a_configuration_error(url):
    with pytest.raises(ConfigurationError, match=r"^REDIS_URL: "):
        Address.parse(url, name="REDIS_URL")


@pytest.mark.parametrize(
    "query",
    [
        "ssl_cert_reqs=none",
        "ssl_cert_reqs=optional",
        "ssl_check_hostname=false",
        "ssl_min_version=TLSv1",
        "ssl_ciphers=NULL",
        "ssl=false",
        "SSL_CA_CERTS=/x",
        "protocol=2",
        "retry=9",
        "socket_timeout=60",
        "password=x",
        "username=x",
        "host=evil",
        "health_check_interval=1",
        "ssl_ca_certs=/a&ssl_cert_reqs=none",
        "db=1&db=2&decode_responses=1",
    ],
)
@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_nothing_in_a_url_weakens_tls_or_changes_how_it_is_used(scheme, query):
    with pytest.raises(ConfigurationError, match="unknown query parameter") as refused:
        Address.parse(f"{scheme}://h?{query}", name="REDIS_URL")
    assert "REDIS_URL" in str(refused.value)


def test_a_secret_shows_itself_only_by_name():
    secret = Secret("hunter2")
    assert secret.reveal() == "hunter2"
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>30}", f"{secret}"):
        assert "hunter2" not in shown
    assert secret == Secret("hunter2")
    assert secret != Secret("other")
    assert secret != "hunter2"
    assert hash(secret) == hash(Secret("hunter2"))
    for way in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            way(secret)


def shown(error):
    """All that anybody could print of an error: its traceback with locals, and every cause and context."""
    texts = ["".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())]
    seen = error
    while seen is not None:
        texts += [str(seen), repr(seen), repr(seen.args)]
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\n".join(texts)


PASSWORD = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=8, max_size=20) | st.text(
    "@:/?#[]%&=+ \\\"'{}pw1", min_size=8, max_size=20
)
AROUND = st.sampled_from(
    [
        "redis://user:{}@host:6379/0",
        "redis://user:{}@host:port/0",
        "redis://:{}@host/x",
        "rediss://:{}@host?ssl_cert_reqs=none",
        "http://:{}@host",
        "redis://:{}@[::1/0",
        "redis://host/{}",
        "redis://host?{}",
        "redis://host:{}",
        "{}",
        "unix://:{}@?db=x",
    ]
)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(password=PASSWORD, around=AROUND, encoded=st.booleans())
def test_no_error_and_no_repr_repeats_a_password(password, around, encoded):
    marked = f"S3cr3t{password}"
    url = around.format(quote(marked, safe="") if encoded else marked)
    try:
        address = Address.parse(url, name="REDIS_URL")
        settings_ = Settings(address=address)
    except ConfigurationError as error:
        text = shown(error)
    else:
        text = "\n".join(map(repr, (address.password, settings_.bounds)))
        if around.startswith("redis://user:{}@") and encoded:
            text += repr(address) + str(address) + repr(settings_)
            assert address.password.reveal() == marked
    assert "S3cr3t" not in text


@settings(max_examples=300, deadline=None, derandomize=True)
@given(password=PASSWORD, user=PASSWORD)
def test_an_encoded_password_comes_through_whole(password, user):
    assume("\0" not in password)
    url = f"redis://{quote(user, safe='')}:{quote(password, safe='')}@host:1234/5"
    address = Address.parse(url)
    assert (user, password, "host", 1234, 5) == (
        address.username,
        address.password.reveal(),
        address.host,
        address.port,
        address.db,
    )
    assert password not in repr(address.password)


def test_an_empty_password_is_none():
    assert Address.parse("redis://user:@host").password is None
    assert Address.parse("redis://@host").username is None
