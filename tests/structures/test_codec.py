"""The codec: back comes what went in, of the same type, or a clear error that repeats no value."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple, NewType, NotRequired, TypedDict
from uuid import UUID

import hypothesis.strategies as st
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings

from polly_state.errors import CorruptValue, UnsupportedValue
from polly_state.structures import Codec

SHARED = Path(__file__).parents[3] / "shared" / "data"
MIB = 1024 * 1024
SECRET = "do-not-repeat-me"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2**60


class Word(StrEnum):
    ON = "on"


class Odd(Enum):
    PAIR = (1, 2)
    NONE = None


Name = NewType("Name", str)


class Point(NamedTuple):
    x: int
    y: float = 0.5


class Track(TypedDict):
    title: str
    seconds: NotRequired[float]


@dataclass
class Inner:
    tags: set[str]
    at: datetime


@dataclass(frozen=True)
class Outer:
    id: int
    inner: Inner
    maybe: Inner | None = None
    many: list[Inner] = field(default_factory=list)
    by_id: dict[int, Point] = field(default_factory=dict)
    colour: Colour = Colour.RED


@dataclass(kw_only=True, slots=True)
class Keyed:
    a: int
    b: str = "b"
    c: tuple[int, ...] = ()


@dataclass
class Single:
    only: Decimal


@dataclass
class Nothing:
    pass


@dataclass
class Counted:
    a: int
    b: int = field(init=False, default=7)


AWARE = datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=-9.5)))
ROUND_TRIPS = [
    (str, "späße 一 \x00 😀"),
    (str, ""),
    (int, 2**53 + 1),
    (int, -(2**63)),
    (int, 2**64 - 1),
    (bool, False),
    (float, 0.1),
    (float, 1.0),
    (float, -0.0),
    (float, 1e308),
    (bytes, b""),
    (bytes, bytes(range(256)) * 20),
    (bytes, b"\x28\xb5\x2f\xfd not a frame"),
    (datetime, AWARE),
    (datetime, datetime(1, 1, 1)),  # noqa: DTZ001
    (datetime, datetime(2024, 10, 27, 2, 30, tzinfo=UTC)),
    (date, date(2024, 2, 29)),
    (time, time(1, 2, 3, 4)),
    (timedelta, timedelta(days=-3, microseconds=1)),
    (timedelta, timedelta(days=200_000)),
    (UUID, UUID(int=2**127 + 5)),
    (Decimal, Decimal("1.100")),
    (Decimal, Decimal("-1E+500")),
    (Colour, Colour.BLUE),
    (Level, Level.HIGH),
    (Word, Word.ON),
    (Odd, Odd.PAIR),
    (Odd, Odd.NONE),
    (Name, "n"),
    (Literal["a", 1, True], True),
    (Literal["a", 1], 1),
    (list[int], [1, 2**53 + 3]),
    (list[bytes], [b"\xff", b""]),
    (set[UUID], {UUID(int=1), UUID(int=2)}),
    (frozenset[str], frozenset({"a", "b"})),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2, 3)),
    (tuple[()], ()),
    (dict[int, str], {1: "a", -5: "b", 2**70: "c"}),
    (dict[UUID, int], {UUID(int=3): 1}),
    (dict[date, int], {date(2024, 1, 1): 1}),
    (dict[Colour, int], {Colour.RED: 1}),
    (dict[Level, int], {Level.LOW: 1}),
    (dict[str, list[tuple[int, ...]]], {"a": [(1,), ()]}),
    (Mapping[str, int], {"a": 1}),
    (list, [1, "a", None]),
    (dict, {"a": {"b": [1.5]}}),
    (int | str, "1"),
    (datetime | str, "2024-01-01"),
    (datetime | str, "at noon"),
    (UUID | str, "00000000-0000-0000-0000-000000000001"),
    (datetime | UUID, AWARE),
    (float | int, 3),
    (int | float, 3.0),
    (bytes | str, "YQ=="),
    (list[int] | list[str], ["1"]),
    (Inner | Point, Point(1, 2.0)),
    (Point, Point(2**60)),
    (Track, {"title": "t"}),
    (Track, {"title": "t", "seconds": 1.5}),
    (Keyed, Keyed(a=1, c=(1, 2))),
    (Single, Single(Decimal("0.10"))),
    (Nothing, Nothing()),
    (Outer, Outer(1, Inner({"a"}, AWARE))),
    (
        Outer,
        Outer(2, Inner(set(), AWARE), Inner(set(), AWARE), [Inner({"x"}, AWARE)], {5: Point(1, 2.0)}),
    ),
    (list[Outer], [Outer(2, Inner(set(), AWARE))] * 50),
]


@pytest.mark.parametrize(("declared", "value"), ROUND_TRIPS)
def test_a_declared_type_comes_back_equal_and_of_that_type(declared, value):
    codec = Codec(declared)
    back = codec.decode(codec.encode(value))
    assert back == value
    assert type(back) is type(value)
    assert repr(back) == repr(value) or isinstance(value, (set, frozenset, Outer, Inner))


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (str | datetime, AWARE),
        (set[int] | list[int], [1]),
        (timedelta, timedelta.max),
    ],
)
def test_what_the_type_can_hardly_tell_apart_is_refused_rather_than_changed(declared, value):
    codec = Codec(declared)
    try:
        content = codec.encode(value)
    except UnsupportedValue:
        return
    assert alike(value, codec.decode(content))


def test_what_is_written_can_be_read_in_redis_cli():
    assert Codec(Keyed).encode(Keyed(a=1)) == b'{"a":1,"b":"b","c":[]}'
    assert Codec(bytes).encode(b"\x00raw") == b"\x00raw"
    assert Codec(bool).encode(True) == b"true"


def test_long_values_are_a_zstd_frame_and_short_ones_are_not():
    assert Codec(str).encode("x" * 1000)[:1] == b'"'
    packed = Codec(str).encode("x" * 5000)
    assert packed[:4] == b"\x28\xb5\x2f\xfd"
    assert len(packed) < 100
    assert Codec(str).decode(packed) == "x" * 5000


def test_a_newer_version_may_add_fields_and_an_older_one_leaves_defaults():
    assert Codec(Keyed).decode(b'{"a":1,"z":2}') == Keyed(a=1)
    assert Codec(Track).decode(b'{"title":"t","new":1}') == {"title": "t"}
    assert Codec(Point).decode(b'{"x":1}') == Point(1)
    for declared in (Keyed, Track, Point):
        with pytest.raises(CorruptValue):
            Codec(declared).decode(b"{}")


def test_an_int_is_read_as_float_where_a_float_is_declared():
    back = Codec(float).decode(b"1")
    assert (1.0, float) == (back, type(back))


SUPPORTED = [
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.text(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.datetimes(timezones=st.none() | st.just(UTC)),
    st.uuids(),
    st.timedeltas(timedelta(days=-200_000), timedelta(days=200_000)),
    st.dates(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.binary(),
]
TYPES = [bool, int, str, float, datetime, UUID, timedelta, date, Decimal, bytes]
HASHABLE = list(zip(TYPES, SUPPORTED, strict=True))


def nested(children):
    """Pairs of a type and a strategy of its values, in containers."""
    return st.one_of(
        children.map(lambda each: (list[each[0]], st.lists(each[1], max_size=4))),
        children.map(lambda each: (tuple[each[0], ...], st.lists(each[1], max_size=4).map(tuple))),
        children.map(lambda each: (dict[str, each[0]], st.dictionaries(st.text(), each[1], max_size=4))),
        children.map(lambda each: (dict[int, each[0]], st.dictionaries(st.integers(), each[1], max_size=4))),
        children.map(lambda each: (each[0] | None, each[1] | st.none())),
        st.tuples(children, children).map(lambda two: (tuple[two[0][0], two[1][0]], st.tuples(two[0][1], two[1][1]))),
        st.sampled_from(HASHABLE).map(lambda each: (frozenset[each[0]], st.frozensets(each[1], max_size=4))),
        st.sampled_from(HASHABLE).map(lambda each: (set[each[0]], st.sets(each[1], max_size=4))),
    )


def alike(one, other):
    """Equal, and of the same types all the way down."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, (list, tuple)):
        return all(map(alike, one, other))
    if isinstance(one, dict):
        return all(alike(one[key], other[key]) for key in one) and {(type(key), key) for key in one} == {
            (type(key), key) for key in other
        }
    return str(one) == str(other) or isinstance(one, (set, frozenset))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_declared_type_gives_back_what_it_takes(data):
    declared, values = data.draw(st.recursive(st.sampled_from(HASHABLE), nested, max_leaves=4))
    value = data.draw(values)
    if value is None:
        return
    codec = Codec(declared)
    assert alike(value, codec.decode(codec.encode(value)))


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(value=st.from_type(Outer) | st.from_type(Keyed) | st.from_type(Point) | st.from_type(Inner))
def test_any_dataclass_gives_back_what_it_takes_or_refuses(value):
    codec = Codec(type(value))
    try:
        content = codec.encode(value)
    except UnsupportedValue:
        return
    assert codec.decode(content) == value


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(value=JSON.filter(lambda value: value is not None))
def test_an_untyped_handle_takes_what_json_gives_back(value):
    codec = Codec(object)
    assert alike(value, codec.decode(codec.encode(value)))


UNTYPED_REFUSED = [
    {1: "a"},
    {"a": {2: 3}},
    (1, 2),
    [(1, 2)],
    {"a": (1,)},
    {1, 2},
    b"raw",
    {"a": b"raw"},
    datetime(2024, 1, 1, tzinfo=UTC),
    UUID(int=1),
    Decimal(1),
    Point(1),
    Keyed(a=1),
    Colour.RED,
    Level.LOW,
    Word.ON,
    {"a": Word.ON},
    {Word.ON: 1},
    [Level.LOW],
    float("nan"),
    [float("inf")],
    2**64,
    -(2**63) - 1,
    "\ud800",
    {"\ud800": 1},
    object(),
    {"a": {1}},
    type("Sub", (dict,), {})(a=1),
    [type("Sub", (str,), {})("a")],
    True + 0j,
]


@pytest.mark.parametrize("value", UNTYPED_REFUSED)
def test_an_untyped_handle_refuses_what_would_change(value):
    with pytest.raises(UnsupportedValue):
        Codec(object).encode(value)


@pytest.mark.parametrize("declared", [object, Any, str, int, bytes, dict, Keyed, int | None])
def test_none_stands_for_missing_and_is_refused(declared):
    with pytest.raises(UnsupportedValue, match="None stands for a missing value"):
        Codec(declared).encode(None)


MISMATCHES = [
    (int, True),
    (bool, 1),
    (str, b"a"),
    (bytes, "a"),
    (int, 1.0),
    (float, "1"),
    (float, float("nan")),
    (float, float("inf")),
    (list[float], [float("nan")]),
    (datetime, date(2024, 1, 1)),
    (date, datetime(2024, 1, 1, tzinfo=UTC)),
    (list[int], [1, "2"]),
    (list[int], (1,)),
    (tuple[int, int], (1,)),
    (tuple[int, ...], [1]),
    (dict[int, str], {"1": "a"}),
    (dict[str, int], {1: 1}),
    (set[int], {1, "a"}),
    (Keyed, Point(1)),
    (Keyed, {"a": 1}),
    (Keyed, Keyed(a="1")),
    (Point, (1, 0.5)),
    (Track, {"title": 1}),
    (Track, {}),
    (Track, {"title": "t", "other": 1}),
    (Colour, "red"),
    (Word, "on"),
    (Literal["a"], "b"),
    (int | str, 1.5),
    (str, "\ud800"),
    (int, 2**64),
    (list, [Decimal(1)]),
    (dict, {"a": (1,)}),
    (dict, {1: "a"}),
    (list, [(1,)]),
    (Inner, Inner({1}, AWARE)),
    (str, type("Sub", (str,), {})("a")),
]


@pytest.mark.parametrize(("declared", "value"), MISMATCHES)
def test_what_is_not_of_the_type_or_would_come_back_changed_is_refused(declared, value):
    with pytest.raises(UnsupportedValue):
        Codec(declared).encode(value)


def test_a_field_that_no_constructor_sets_does_not_come_back_changed():
    value = Counted(1)
    value.b = 9
    with pytest.raises((UnsupportedValue, TypeError)):
        Codec(Counted).encode(value)


@pytest.mark.parametrize("declared", [complex, type, list[complex], dict[bytes, int], dict[float, int], object()])
def test_a_type_that_cannot_be_stored_is_refused_when_it_is_declared(declared):
    with pytest.raises(TypeError):
        Codec(declared)


def frame(content, **options):
    return zstandard.ZstdCompressor(**options).compress(content)


def declaring(size):
    """A frame that declares *size* and holds far less."""
    head = b"\x28\xb5\x2f\xfd" + bytes([0b1110_0000]) + struct.pack("<Q", size)
    return head + b"\x01\x00\x00"


def unsized(content):
    packer = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return packer.compress(content) + packer.flush()


def wide(content):
    """A frame with a window of 128 MiB."""
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(content) + packer.flush()


GOOD = frame(b'"' + b"x" * 3000 + b'"')
BROKEN = {
    "bomb": frame(b'"' + b"0" * (64 * MIB) + b'"'),
    "huge declared size": declaring(2**40),
    "size that lies": declaring(5 * MIB),
    "no size": unsized(b'"' + b"x" * 3000 + b'"'),
    "unsized bomb": unsized(b"0" * (64 * MIB)),
    "huge window": wide(b"0" * (16 * MIB)),
    "two frames": GOOD + GOOD,
    "frame and rest": GOOD + b"rest",
    "truncated": GOOD[:-3],
    "head only": GOOD[:5],
    "magic only": GOOD[:4],
    "damaged": GOOD[:12] + b"\xff\xff\xff" + GOOD[15:],
    "skippable": b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + GOOD,
    "frame of no json": frame(b"\x80\x04pickle" * 400),
    "empty": b"",
    "text": b"plain",
    "cut json": b'{"a": ',
    "two documents": b"1 2",
    "bad utf-8": b'"\xff"',
    "nan": b"NaN",
    "surrogate": b'"\\ud800"',
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00",
    "foreign type": b'{"a": "do-not-repeat-me"}',
    "null": b"null",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "big number": b"1" * 5000,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("declared", [str, Keyed, dict[int, Inner], int | None | bytes])
def test_what_this_codec_cannot_have_written_is_corrupt(declared, content):
    if content in (b"null", b"1" * 5000) and declared == int | None | bytes:
        pytest.skip("null is one of the types")
    with pytest.raises(CorruptValue) as corrupt:
        Codec(declared).decode(content)
    assert SECRET not in str(corrupt.value)
    assert len(str(corrupt.value)) < 200


def test_a_null_under_an_optional_type_is_not_taken_for_a_missing_value():
    with pytest.raises(CorruptValue):
        Codec(int | None).decode(b"null")


@pytest.mark.parametrize("content", [BROKEN["bomb"], BROKEN["two frames"], BROKEN["truncated"]])
def test_bytes_are_checked_like_everything_else(content):
    with pytest.raises(CorruptValue):
        Codec(bytes).decode(content)


@pytest.mark.parametrize("declared", [str, object, bytes, dict, Keyed, list[datetime]])
@settings(max_examples=100, deadline=None, derandomize=True)
@given(content=st.binary(max_size=60) | st.binary(max_size=40).map(lambda each: GOOD[:6] + each))
def test_any_bytes_decode_or_are_corrupt(declared, content):
    try:
        Codec(declared).decode(content)
    except CorruptValue as error:
        assert len(str(error)) < 200  # noqa: PT017


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (int, SECRET),
        (Keyed, {"a": SECRET}),
        (dict[str, int], {"a": SECRET}),
        (Literal["a"], SECRET),
        (object, {SECRET: {1}}),
        (object, {1: SECRET}),
        (str, SECRET + "\ud800"),
        (Decimal, SECRET),
    ],
)
def test_no_message_repeats_a_value(declared, value):
    with pytest.raises(UnsupportedValue) as refused:
        Codec(declared).encode(value)
    seen = refused.value
    while seen is not None:
        assert SECRET not in str(seen)
        seen = seen.__cause__


@pytest.mark.parametrize(
    ("declared", "content"),
    [
        (int, b'"do-not-repeat-me"'),
        (dict[int, int], b'{"do-not-repeat-me":1}'),
        (Colour, b'"do-not-repeat-me"'),
        (UUID, b'"do-not-repeat-me"'),
        (Decimal, b'"do-not-repeat-me"'),
        (datetime, b'"do-not-repeat-me"'),
        (Keyed, b'{"a":1,"b":["do-not-repeat-me"]}'),
        (str, b'"do-not-repeat-me'),
    ],
)
def test_no_message_repeats_what_was_stored(declared, content):
    with pytest.raises(CorruptValue) as corrupt:
        Codec(declared).decode(content)
    seen = corrupt.value
    while seen is not None:
        assert SECRET not in str(seen), type(seen)
        seen = seen.__cause__


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [300, 5000, 100_000])
@pytest.mark.parametrize("declared", [object, list])
def test_deep_nesting_is_refused_or_comes_back(declared, levels):
    codec = Codec(declared)
    try:
        content = codec.encode(deep(levels))
    except UnsupportedValue:
        return
    assert codec.decode(content) is not None


def test_an_oversized_value_is_refused_before_anything_is_written():
    with pytest.raises(UnsupportedValue, match="value_bytes, 100"):
        Codec(bytes, max_bytes=100).encode(bytes(range(101)))
    assert Codec(bytes, max_bytes=100).encode(b"x" * 100) == b"x" * 100
    with pytest.raises(UnsupportedValue, match="split it"):
        Codec(str, max_bytes=100 * MIB).encode("x" * (9 * MIB))


def test_what_compresses_well_is_measured_as_it_is_stored():
    assert len(Codec(str, max_bytes=2000).encode("x" * MIB)) < 2000


def test_the_largest_value_comes_back():
    codec = Codec(bytes, max_bytes=8 * MIB)
    for value in (b"x" * (8 * MIB), b"\x28\xb5\x2f\xfd" * (MIB // 4)):
        assert codec.decode(codec.encode(value)) == value


def test_nan_is_refused_wherever_it_hides():
    for declared, value in [
        (float | None, math.nan),
        (dict[str, float], {"a": math.inf}),
        (Point, Point(1, math.nan)),
        (list, [math.nan]),
        (dict, {"a": -math.inf}),
    ]:
        with pytest.raises(UnsupportedValue):
            Codec(declared).encode(value)


def documents():
    for name in ("ancestor_payloads", "discord_objects", "voice_preferences"):
        path = SHARED / f"{name}.json"
        if path.exists():
            for key, value in json.loads(path.read_text()).items():
                yield pytest.param(value, id=f"{name}:{key}"[:80])


@pytest.mark.parametrize("value", list(documents()) or [pytest.param(None, id="absent")])
def test_real_payloads_come_back(value):
    if value is None:
        pytest.skip("the shared payloads are not on this machine")
    codec = Codec(object)
    assert alike(value, codec.decode(codec.encode(value)))


def test_every_field_of_the_examples_is_compared():
    assert {each.name for each in dataclasses.fields(Outer)} > {"maybe", "many", "by_id"}
