"""Scalars: the shapes of single things, such as numbers, texts, dates and enums."""

from __future__ import annotations

import types
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any, Final, NamedTuple
from uuid import UUID

from polly_state.structures.mismatch import Mismatch

__all__ = ["Shape", "exactly", "int_of_text", "literal", "native", "plain", "scalar"]

PLAIN: Final = (str, int, bool)
NATIVE: Final = frozenset((*PLAIN, types.NoneType))
MICROSECOND: Final = timedelta(microseconds=1)


class Shape(NamedTuple):
    """The two ways of one type. Both raise `Mismatch`."""

    kind: type | None
    """The one type of both forms, if they are the same thing; None if something must be done."""
    to_json: Callable[[Any], Any]
    from_json: Callable[[Any], Any]


def scalar(declared: type) -> Shape | None:
    """The shape of a class whose values are single things; None for any other class."""
    if declared in PLAIN:
        return plain(declared)
    if declared is float:
        return Shape(float, _finite, _float)
    if declared is bytes:
        return _text(bytes, lambda value: b64encode(value).decode(), lambda text: b64decode(text, validate=True))
    if declared is timedelta:
        return Shape(None, lambda value: exactly(timedelta, value) // MICROSECOND, _timedelta)
    if declared is datetime or declared is date or declared is time:
        return _text(declared, lambda value: value.isoformat(), declared.fromisoformat)
    if declared is UUID or declared is Decimal:
        return _text(declared, str, declared)
    return _enum(declared) if issubclass(declared, Enum) else None


def plain(kind: type) -> Shape:
    """The shape of what JSON has itself."""

    def check(value: Any) -> Any:
        return exactly(kind, value)

    return Shape(kind, check, check)


def native(value: Any) -> Any:
    """*value*, if JSON gives it back equal and of the same type. Raises `Mismatch`."""
    kind = type(value)
    if kind is float:
        return _finite(value)
    if kind is list:
        for item in value:
            if type(item) not in NATIVE:
                native(item)
    elif kind is dict:
        for name, item in value.items():
            if type(name) is not str:
                raise Mismatch("str", name)
            if type(item) not in NATIVE:
                native(item)
    elif kind not in NATIVE:
        raise Mismatch("what JSON gives back equal (declare its type at the handle)", value)
    return value


def literal(choices: tuple[Any, ...]) -> Shape:
    """The shape of one of several given texts, numbers or switches."""
    known = {(type(choice), choice) for choice in choices}

    def check(value: Any) -> Any:
        if type(value) not in NATIVE or (type(value), value) not in known:
            raise Mismatch("one of the literals", value)
        return value

    return Shape(None, check, check)


def exactly(kind: type, value: Any) -> Any:
    """*value*, if it is of just that type. Raises `Mismatch`."""
    if type(value) is not kind:
        raise Mismatch(kind.__name__, value)
    return value


def int_of_text(text: str) -> int:
    """The number that is written just so. Raises `Mismatch`."""
    number = int(text) if text.lstrip("-").isdigit() and text.isascii() else None
    if number is None or str(number) != text:
        raise Mismatch("int", text)
    return number


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    return float(exactly(int, value))


def _finite(value: Any) -> float:
    number = _float(value)
    if not isfinite(number):
        raise Mismatch("a finite number", value)
    return number


def _timedelta(value: Any) -> timedelta:
    return timedelta(microseconds=exactly(int, value))


def _text(kind: type, write: Callable[[Any], str], read: Callable[[str], Any]) -> Shape:
    def from_json(text: Any) -> Any:
        try:
            return read(exactly(str, text))
        except (ValueError, ArithmeticError):
            # The cause would quote the text.
            raise Mismatch(kind.__name__, text) from None

    return Shape(None, lambda value: write(exactly(kind, value)), from_json)


def _enum(kind: type[Enum]) -> Shape:
    by_value = all(type(member.value) in (str, int) for member in kind)
    members: dict[Any, Enum] = {(member.value if by_value else member.name): member for member in kind}

    def from_json(value: Any) -> Enum:
        member = members.get(value) if type(value) in (str, int) else None
        if member is None:
            raise Mismatch(kind.__name__, value)
        return member

    return Shape(
        None,
        lambda value: exactly(kind, value).value if by_value else exactly(kind, value).name,
        from_json,
    )
