"""Cached functions: one result for the same arguments, of the type that the annotation says."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from datetime import UTC, datetime

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


async def test_how_a_part_is_written_counts(virtual):
    @virtual.service.cached("days:{day:%Y-%m-%d}:{key!s}", ttl=60, tags=["{key!s}"])
    async def days(day: object, key: object) -> list[str]:
        return [f"{day:%H}"]

    assert await days(datetime(2026, 1, 2, 8, tzinfo=UTC), 1.5) == ["08"]
    assert await days(datetime(2026, 1, 2, 9, tzinfo=UTC), 1.5) == ["08"]
    assert await days(datetime(2026, 1, 3, 9, tzinfo=UTC), 1.5) == ["09"]
    await virtual.service.invalidate_tag("1.5")
    assert await days(datetime(2026, 1, 2, 9, tzinfo=UTC), 1.5) == ["09"]


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


async def test_all_of_a_template_counts(virtual):
    async def of(kind):
        @virtual.service.cached(kind, ttl=60)
        async def board(guild: int, page: str = "x") -> str:
            return kind

        return await board(1)

    texts = [
        "board:{guild}:weekly",
        "board:{guild}:daily",
        "board:{guild}",
        "board:all:{guild}",
        "board:{guild}:{page}",
    ]
    assert texts == [await of(text) for text in texts]


class Guild:
    def __init__(self, number, calls):
        self.number = number
        self.calls = calls


@pytest.fixture
def roles(virtual):
    """A class with cached functions of all kinds."""
    cached = virtual.service.cached

    class Roles(Guild):
        @cached("roles:{self.number}:{name}", ttl=60, tags=["guild:{self.number}"])
        async def named(self, name: str) -> Board:
            """Those with a name."""
            self.calls.append(name)
            return Board([f"{self.number} {name}"])

        @classmethod
        @cached("kinds:{cls.__name__}:{name}", ttl=60)
        async def kind(cls, name: str) -> str:
            return f"{cls.__name__} {name}"

        @staticmethod
        @cached("plain:{name}", ttl=60)
        async def plain(name: str) -> str:
            return name

    return Roles


async def test_methods(roles, calls):
    one, two = roles(1, calls), roles(2, calls)
    for _ in range(2):
        assert Board(["1 a"]) == await one.named("a") == await one.named(name="a") == await roles.named(one, "a")
        assert Board(["2 a"]) == await two.named("a")
    assert calls == ["a", "a"]
    await one.named.invalidate("a")
    await one.named("a")
    await two.named("a")
    assert len(calls) == 3
    await one.named.cache._shared.markers.mark_tag("guild:2")
    await two.named("a")
    assert len(calls) == 4


async def test_methods_of_classes_and_plain_ones(roles):
    class Other(roles):
        pass

    assert [await kind.kind("x") for kind in (roles, Other, roles(1, []))] == ["Roles x", "Other x", "Roles x"]
    assert await roles.plain("x") == await roles(1, []).plain("x") == "x"


def test_it_is_known_by_the_names_of_the_function(leaderboard, roles):
    assert (leaderboard.__name__, leaderboard.__module__) == ("leaderboard", __name__)
    assert leaderboard.__qualname__.endswith("<locals>.leaderboard")
    assert [*inspect.signature(leaderboard).parameters] == ["guild_id", "order", "nobody"]
    assert [*inspect.signature(roles(1, []).named).parameters] == ["name"]
    assert roles(1, []).named.__doc__ == "Those with a name."
    assert asyncio.iscoroutinefunction(leaderboard)


async def test_one_upon_another(virtual, calls):
    @virtual.service.cached("outer:{number}", ttl=60)
    @virtual.service.cached("inner:{number}", ttl=600)
    async def doubled(number: int) -> int:
        calls.append(number)
        return 2 * number

    assert [await doubled(2), await doubled(2)] == [4, 4]
    await doubled.invalidate(2)
    assert await doubled(2) == 4
    assert calls == [2]


async def test_what_can_be_no_part_of_an_id_is_told_apart_all_the_same(virtual):
    @virtual.service.cached("found:{a}:{b}", ttl=60, tags=["a:{a}"])
    async def found(a: str | bool | None = None, b: str | bool | None = None) -> list[str | bool | None]:
        return [a, b]

    odd = [None, True, False, "", "-", "None", "True", "0None", "~0None"]
    for _ in range(2):
        for a in odd:
            for b in odd:
                assert [a, b] == await found(a, b)
    assert await found() == [None, None]
    assert found.cache.statistics().loads == len(odd) ** 2


async def test_arguments_of_all_kinds(virtual):
    @virtual.service.cached("odd:{first}:{rest[0]}:{only}:{named[x]}", ttl=60)
    async def odd(first: int, /, *rest: int, only: str = "o", **named: str) -> list[int]:
        return [first, *rest]

    assert await odd(1, 2, 3, x="a") == await odd(1, 2, 4, x="a") == [1, 2, 3]
    assert await odd(1, 2, x="b") == [1, 2]
    for missing in (lambda: odd(1, 2, y="a"), lambda: odd(1, x="a")):
        with pytest.raises(TypeError, match="the arguments have no"):
            await missing()


def test_what_gives_no_single_result_is_refused(virtual):
    def cached(function):
        return virtual.service.cached("a:{number}", ttl=60)(function)

    async def many(number: int) -> int:
        yield number

    def at_once(number: int) -> int:
        return number

    async def one(number: int) -> int:
        return number

    def later(number: int) -> asyncio.Future[int]:
        return asyncio.ensure_future(one(number))

    for function, message in (
        (many, "generator"),
        (at_once, "async function"),
        (classmethod(one), "above"),
        (staticmethod(one), "above"),
    ):
        with pytest.raises(TypeError, match=message):
            cached(function)
    with pytest.raises(TypeError, match="tags are several"):
        virtual.service.cached("a:{number}", ttl=60, tags="guild")
    assert cached(later).cache is cached(one).cache
