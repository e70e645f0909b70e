from __future__ import annotations

import asyncio
import socket
import time

import pytest

from polly_state.testing import FaultProxy, Server
from tests.testing.wire import ask, wired


@pytest.fixture
async def proxy(server):
    async with FaultProxy(server.url) as proxy:
        yield proxy


async def until(true, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
    return true()


async def test_a_proxy_forwards_until_told_otherwise(proxy):
    async with wired(proxy.url) as wire:
        assert await wire.ask("SET proxied yes") == b"+OK"
        assert await wire.ask("EXISTS proxied") == b":1"
    assert proxy.connections == 1


async def test_large_values_arrive_whole(proxy):
    async with wired(proxy.url) as wire:
        wire.writer.write(b"*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n$3000000\r\n" + b"x" * 3_000_000)
        wire.writer.write(b"\r\n")
        assert await wire.reply() == b"+OK"
        assert await wire.ask("GET large") == b"$3000000"
        assert await wire.reader.readexactly(3_000_002) == b"x" * 3_000_000 + b"\r\n"
        assert await wire.ask("DEL large") == b":1"


async def test_bytes_are_counted_in_both_directions(proxy):
    async with wired(proxy.url) as wire:
        await wire.ask("PING")
        assert (proxy.requested, proxy.replied) == (6, 7)


async def test_a_server_on_a_unix_socket_gets_a_port(binary):
    async with (
        Server(binary, unix=True, password="pw") as server,
        FaultProxy(server.url) as proxy,
        wired(proxy.url) as wire,
    ):
        assert proxy.url == f"redis://:pw@127.0.0.1:{proxy.port}/0"
        assert await wire.ask("AUTH pw") == b"+OK"


async def test_a_delay_is_latency_and_not_a_lower_rate(proxy):
    async with wired(proxy.url) as wire:
        await wire.ask("PING")
        proxy.delay(0.05)
        begun = time.monotonic()
        for _ in range(100):
            wire.send("PING")
            await asyncio.sleep(0.001)
        replies = [await wire.reply() for _ in range(100)]
        assert replies == [b"+PONG"] * 100
        # One after another they would take 10 s.
        assert 0.1 <= time.monotonic() - begun < 5.0


async def test_jitter_delays_but_never_reorders(proxy):
    async with wired(proxy.url) as wire:
        proxy.delay(0.0, jitter=0.02)
        for number in range(20):
            wire.send(f"ECHO {number}")
            await asyncio.sleep(0)
        lines = [await wire.reply() for _ in range(40)]
        assert lines[1::2] == [str(number).encode() for number in range(20)]


async def test_healing_does_not_wait_for_a_long_delay(proxy):
    async with wired(proxy.url) as wire:
        proxy.delay(30.0)
        wire.send("PING")
        assert await wire.silent()
        proxy.heal()
        assert await wire.reply() == b"+PONG"


async def test_held_bytes_arrive_once_healed(proxy):
    async with wired(proxy.url) as wire:
        proxy.hold()
        wire.send("PING")
        assert await wire.silent()
        assert (proxy.requested, proxy.replied) == (0, 0)
        proxy.heal()
        assert await wire.reply() == b"+PONG"


async def test_connections_made_while_holding_are_kept(proxy):
    proxy.hold()
    async with wired(proxy.url) as wire:
        wire.send("PING")
        assert await wire.silent()
        assert proxy.open == 1
        proxy.heal()
        assert await wire.reply() == b"+PONG"


async def test_a_dropped_reply_was_earned(proxy, server):
    ask(server.url, "DEL counted")
    async with wired(proxy.url) as wire:
        proxy.drop_replies()
        wire.send("INCR counted")
        assert await wire.silent()
        assert ask(server.url, "GET counted", "") == [b"$1", b"1"]


async def test_a_connection_that_lost_replies_is_reset_by_healing(proxy):
    async with wired(proxy.url) as wire, wired(proxy.url) as unharmed:
        await unharmed.ask("PING")
        proxy.drop_replies()
        wire.send("PING")
        assert await wire.silent()
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            await wire.reply()
        assert await unharmed.ask("PING") == b"+PONG"


async def test_a_reset_ends_open_connections_and_welcomes_new_ones(proxy):
    async with wired(proxy.url) as wire:
        await wire.ask("PING")
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await wire.reply()
    async with wired(proxy.url) as wire:
        assert await wire.ask("PING") == b"+PONG"
    assert proxy.connections == 2


async def test_a_held_connection_can_be_reset(proxy):
    async with wired(proxy.url) as wire:
        proxy.hold()
        wire.send("PING")
        await wire.silent()
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await wire.reply()
    assert await until(lambda: proxy.open == 0)


async def test_a_connection_can_be_reset_before_it_was_served(proxy):
    with socket.create_connection(("127.0.0.1", proxy.port)) as link:
        proxy._accept(proxy._listener)
        proxy.reset()
        assert await until(lambda: proxy.open == 0)
        with pytest.raises(ConnectionResetError):
            link.recv(1)


async def test_a_truncated_reply_ends_with_the_connection(proxy):
    async with wired(proxy.url) as wire:
        await wire.ask("PING")
        proxy.truncate(9)
        wire.send("PING")
        wire.send("PING")
        assert await asyncio.wait_for(wire.reader.read(), 20.0) == b"+PONG\r\n+P"


async def test_truncating_to_nothing_loses_the_answer_to_what_was_done(proxy, server):
    ask(server.url, "DEL counted")
    proxy.truncate(0)
    async with wired(proxy.url) as wire:
        assert await wire.ask("INCR counted") == b""
    assert ask(server.url, "GET counted", "") == [b"$1", b"1"]


async def test_a_sliced_reply_arrives_piece_by_piece(proxy):
    async with wired(proxy.url) as wire:
        await wire.ask("PING")
        proxy.slice(2)
        wire.send("PING")
        pieces = [await asyncio.wait_for(wire.reader.read(100), 20.0) for _ in range(4)]
        assert pieces == [b"+P", b"ON", b"G\r", b"\n"]


async def test_an_extra_reply_comes_unasked(proxy):
    async with wired(proxy.url) as wire:
        await wire.ask("PING")
        proxy.extra_reply(b"+SURPRISE\r\n")
        assert await wire.reply() == b"+SURPRISE"


async def test_a_refusing_proxy_turns_new_clients_away_and_keeps_old_ones(proxy):
    async with wired(proxy.url) as wire:
        await wire.ask("PING")
        for _ in range(3):
            proxy.refuse()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", proxy.port)
            assert await wire.ask("PING") == b"+PONG"
            proxy.heal()
            async with wired(proxy.url) as newcomer:
                assert await newcomer.ask("PING") == b"+PONG"


async def test_faults_add_up_and_healing_ends_them_all(proxy):
    async with wired(proxy.url) as wire:
        proxy.slice(1)
        proxy.delay(0.01)
        proxy.truncate(3)
        proxy.hold()
        proxy.heal()
        assert await wire.ask("PING") == b"+PONG"
        assert await wire.ask("PING") == b"+PONG"


async def test_a_client_behind_a_dead_server_is_closed(binary):
    async with Server(binary) as server, FaultProxy(server.url) as proxy:
        server.kill()
        async with wired(proxy.url) as wire:
            assert await asyncio.wait_for(wire.reader.read(), 20.0) == b""
        assert proxy.connections == 1
        assert await until(lambda: proxy.open == 0)


async def test_a_server_that_dies_ends_its_connections(binary):
    async with (
        Server(binary) as server,
        FaultProxy(server.url) as proxy,
        wired(proxy.url) as wire,
    ):
        await wire.ask("PING")
        server.kill()
        assert await asyncio.wait_for(wire.reader.read(), 20.0) == b""


async def test_a_half_closed_client_still_gets_its_answers(proxy):
    async with wired(proxy.url) as wire:
        wire.send("PING")
        wire.writer.write_eof()
        assert await asyncio.wait_for(wire.reader.read(), 20.0) == b"+PONG\r\n"
    assert await until(lambda: proxy.open == 0)


async def test_closing_leaves_no_task_and_no_connection(server):
    before = asyncio.all_tasks()
    proxy = FaultProxy(server.url)
    async with proxy, wired(proxy.url) as wire:
        await wire.ask("PING")
        proxy.hold()
        wire.send("PING")
        await wire.silent()
        await proxy.aclose()
        assert asyncio.all_tasks() == before
        assert await asyncio.wait_for(wire.reader.read(), 20.0) == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", proxy.port)


async def test_pieces_have_at_least_one_byte(proxy):
    with pytest.raises(ValueError, match="cannot slice"):
        proxy.slice(0)


async def test_a_redirected_proxy_takes_new_connections_elsewhere(proxy, binary):
    async with Server(binary) as other, wired(proxy.url) as before:
        ask(other.url, "SET where other")
        proxy.redirect(other.url)
        assert await before.ask("EXISTS where") == b":0"
        async with wired(proxy.url) as after:
            assert await after.ask("EXISTS where") == b":1"
