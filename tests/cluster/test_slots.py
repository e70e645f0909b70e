"""Slots: where a Cluster has a key, and what its servers say of that."""

from __future__ import annotations

import random

import pytest

from polly_state import Address, ConfigurationError, StoreUnavailable
from polly_state.cluster.slots import SLOTS, Range, key_of, slot_of, tag_in, view_in
from polly_state.connection import ReplyError
from tests.clusters import ask

HERE = Address(host="here", port=7000)


async def test_a_key_has_the_slot_that_servers_give_it(cluster_server):
    rng = random.Random(5)
    keys = ["", "{", "}{", "{}a", "a{b}c{d}", "polly:t:{1}", "é{ü}", "{a", "a}"]
    keys += ["".join(rng.choices("ab{}:é", k=rng.randrange(12))) for _ in range(200)]
    for key in keys:
        assert slot_of(key) == await ask(cluster_server.masters[0], "CLUSTER", "KEYSLOT", key), key


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("GET", "a"), "a"),
        (("EVALSHA", "digest", 2, "a", "b", "x"), "a"),
        (("EVAL", "text", b"1", "a"), "a"),
        (("DEL", b"a"), "a"),
        (("PING",), "PING"),
    ],
)
def test_a_command_is_where_its_first_key_is(words, key):
    assert key_of(words) == key


def test_the_tag_of_a_server_is_in_one_of_its_slots_whoever_asks():
    for first, last in ((0, 5460), (5461, 16_383), (77, 77)):
        tag = tag_in([Range(first, last, ("h", 1))])
        assert first <= slot_of(f"a:{{{tag}}}:b") <= last
        assert tag == tag_in([Range(first, last, ("other", 2))])


def test_a_view_is_of_masters_and_a_server_without_a_name_is_the_one_that_was_asked():
    slots = [
        [8192, SLOTS - 1, [b"b", 7001, b"id", []], [b"replica", 7002, b"id", []]],
        [0, 8191, [b"", 7000, b"id", [b"hostname", b""]]],
        [SLOTS, SLOTS + 1, [b"x", 1, b"id"]],
    ]
    view = view_in([slots, b"cluster_state:ok\r\n"], HERE)
    assert view.ranges == (Range(0, 8191, ("here", 7000)), Range(8192, SLOTS - 1, ("b", 7001)))
    assert view.healthy
    assert not view_in([slots, b"cluster_state:fail\r\n"], HERE).healthy
    assert not view_in([slots, ReplyError("NOPERM no")], HERE).healthy


@pytest.mark.parametrize("slots", [None, 3, [1], [[1, 2]], [[0, 1, b"master"]], [[0, 1, [b"h", b"port"]]]])
def test_nonsense_is_no_view(slots):
    with pytest.raises(StoreUnavailable, match="here:7000/0 does not say"):
        view_in([slots, b""], HERE)


def test_a_server_by_itself_is_no_cluster():
    with pytest.raises(ConfigurationError, match="in no Cluster; use redis://"):
        view_in([ReplyError("ERR This instance has cluster support disabled"), b""], HERE)
    with pytest.raises(StoreUnavailable):
        view_in([ReplyError("LOADING a minute"), b""], HERE)
