"""Keys: two ids never share one, and none leaves its slot or acts as a pattern."""

from __future__ import annotations

import re

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given, settings

from polly_state.commands import companion
from polly_state.structures import Family

FAMILY = Family("ns", "family")
SAFE = re.compile(r"ns:family:\{[A-Za-z0-9_.%~:-]+\}")
NASTY = [
    "*",
    "?",
    "[a-z]",
    "{a}",
    "}",
    "a:b",
    ":",
    "%",
    "%3A",
    "~",
    "~m",
    "a\nb",
    "\0",
    "一二",
    " ",
    "a" * 300,
    "\r\n",
    "-1",
    "1",
]
PART = st.one_of(
    st.text(min_size=1, max_size=30),
    st.sampled_from(NASTY),
    st.integers(),
    st.text("ab:%{}~1-", min_size=1, max_size=5),
)
ID = PART | st.tuples(PART) | st.tuples(PART, PART) | st.tuples(PART, PART, PART)


def parts(id_):
    """What an id stands for: a number is the same as its text, and an id the same as a tuple of it alone."""
    return tuple(map(str, id_ if isinstance(id_, tuple) else (id_,)))


def encodable(id_):
    try:
        "".join(parts(id_)).encode()
    except UnicodeEncodeError:
        return False
    return True


@settings(max_examples=600, deadline=None, derandomize=True)
@given(one=ID, other=ID)
def test_different_ids_have_different_keys_and_equal_ones_the_same(one, other):
    assume(encodable(one) and encodable(other))
    assert (parts(one) == parts(other)) is (FAMILY.key(one) == FAMILY.key(other))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(id_=ID)
def test_every_key_is_plain_and_in_the_slot_of_its_companion(id_):
    assume(encodable(id_))
    key = FAMILY.key(id_)
    assert SAFE.fullmatch(key)
    assert len(key) <= 256
    assert companion(key).partition("{")[2] == key.partition("{")[2]
    assert companion(key) != key


@pytest.mark.parametrize("id_", NASTY)
def test_nothing_that_means_something_to_redis_is_left(id_):
    assert not set("*?[]\\\n\r\0 ") & set(FAMILY.key(id_))
    assert (FAMILY.key(id_).count("{"), FAMILY.key(id_).count("}")) == (1, 1)


def test_keys_read_as_what_they_are():
    assert FAMILY.key(123) == "ns:family:{123}"
    assert FAMILY.key((1, "a b")) == "ns:family:{1:a%20b}"
    assert FAMILY.key("é") == "ns:family:{%C3%A9}"


def test_a_very_long_id_becomes_a_digest_that_no_id_spells():
    long = FAMILY.key("x" * 1000)
    assert re.fullmatch(r"ns:family:\{~[0-9a-f]{32}\}", long)
    assert long != FAMILY.key("x" * 1001)
    assert long != FAMILY.key(long.partition("{")[2].rstrip("}"))
    assert FAMILY.key(10**300) != FAMILY.key(10**300 + 1)
    assert len(FAMILY.key("x" * 245)) <= 256


@pytest.mark.parametrize("namespace", ["n", "n" * 200, "n" * 250, "n" * 400])
@pytest.mark.parametrize("id_", ["x" * 127, "x" * 128, "x" * 129, "x" * 240])
def test_a_long_namespace_keeps_ids_apart(namespace, id_):
    family = Family(namespace, "f")
    assert family.key(id_) != family.key(id_[:-1] + "y")


@pytest.mark.parametrize("id_", ["", (), ("a", ""), "\ud800", ("a", "\udfff"), "x" * 4097, "é" * 3000])
def test_an_id_that_cannot_be_a_key_is_a_value_error(id_):
    with pytest.raises(ValueError):
        FAMILY.key(id_)


@pytest.mark.parametrize(
    "id_", [None, True, False, 1.0, b"a", ["a"], ("a", None), ("a", ("b",)), ("a", True), object()]
)
def test_an_id_of_another_type_is_a_type_error(id_):
    with pytest.raises(TypeError):
        FAMILY.key(id_)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "{a}", "*", "ä", "a\n", "~m"])
def test_a_family_needs_a_plain_name(name):
    with pytest.raises(ValueError, match="family"):
        Family("ns", name)


def test_a_text_subclass_is_the_text_it_is():
    assert FAMILY.key(type("Sub", (str,), {})("a*")) == FAMILY.key("a*")
