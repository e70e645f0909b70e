"""Cached functions: one result for the same arguments, of the type that the annotation says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from tests.cache.caches import Virtual


@dataclass
class Board:
    names: list[str]


@pytest.fixture
def virtual():
    return Virtual()


@pytest.fixture
def calls():
    return []


@pytest.fixture
def leaderboard(virtual, calls):
    @virtual.service.cached("leaderboard:{guild_id}:{order}", ttl=60, tags=["guild:{guild_id}"])
    async def leaderboard(guild_id: int, order: str = "up", *, nobody: object = None) -> Board:
        """Who leads."""
        calls.append((guild_id, order))
        await asyncio.sleep(0)
        return Board([order])

    return leaderboard


async def test_the_same_arguments_give_the_same_result_however_they_are_given(leaderboard, calls):
    expected = Board(["up"])
    results = [await leaderboard(1), await leaderboard(guild_id=1), await leaderboard(1, "up", nobody=object())]
    assert [expected] * 3 == results
    assert calls == [(1, "up")]
    assert Board(["down"]) == await leaderboard(1, order="down")
    assert await leaderboard(2) == expected
    assert len(calls) == 3


async def test_a_result_is_invalidated_by_its_arguments_its_tag_and_its_family(leaderboard, virtual, calls):
    for invalidate in (
        lambda: leaderboard.invalidate(1),
        lambda: virtual.service.invalidate_guild(1),
        leaderboard.cache.invalidate,
    ):
        await leaderboard(1)
        before = len(calls)
        await leaderboard(1)
        assert len(calls) == before
        await invalidate()
        await leaderboard(1)
        assert len(calls) == before + 1


async def test_parts_of_a_key_do_not_run_together(virtual):
    @virtual.service.cached("joined:{a}:{b}", ttl=60)
    async def joined(a: str, b: str) -> list[str]:
        return [a, b]

    assert await joined("x:y", "z") == ["x:y", "z"]
    assert await joined("x", "y:z") == ["x", "y:z"]


async def test_attributes_and_no_parameters(virtual):
    @dataclass
    class User:
        id: int

    @virtual.service.cached("greeting:{user.id}", ttl=60)
    async def greeting(user: object) -> str:
        return f"hello {user.id}"

    @virtual.service.cached("motd", ttl=60)
    async def motd() -> str | None:
        return None

    assert await greeting(User(7)) == "hello 7"
    assert await motd() is None
    assert (await motd.cache.read("-")).hit


async def test_a_part_that_is_no_id_is_an_error(leaderboard):
    with pytest.raises(TypeError, match="name an attribute"):
        await leaderboard(1.5)


def test_it_looks_like_the_function(leaderboard):
    assert leaderboard.__doc__ == "Who leads."
    assert leaderboard.cache.name == "leaderboard"


def test_mistakes_are_told_at_once(virtual):
    cached = virtual.service.cached

    async def named(guild_id: int) -> int:
        return guild_id

    async def untyped(guild_id):
        return guild_id

    with pytest.raises(ValueError, match="no parameters"):
        cached("a:{guild}", ttl=60)(named)
    with pytest.raises(ValueError, match="no parameters"):
        cached("a:{guild_id}", ttl=60, tags=["guild:{id}"])(named)
    with pytest.raises(TypeError, match="annotation"):
        cached("b:{guild_id}", ttl=60)(untyped)
    with pytest.raises(TypeError, match="ttl"):
        cached("c:{guild_id}")(named)
    with pytest.raises(ValueError, match="name"):
        cached("{guild_id}", ttl=60)(named)
