"""Shapes: how the values of a declared type become JSON, and come back as exactly that type."""

from __future__ import annotations

import dataclasses
import types
import typing
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from operator import attrgetter, itemgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

__all__ = ["Mismatch", "Shape", "shape_of"]

PLAIN: Final = (str, int, bool, float)
MICROSECOND: Final = timedelta(microseconds=1)


class Mismatch(Exception):  # noqa: N818
    """A value is not of its declared type; *path* leads to it."""

    def __init__(self, expected: str, found: object) -> None:
        super().__init__(f"expected {expected}, found {type(found).__name__}")


class Shape(NamedTuple):
    """The two ways of one type. Both raise `Mismatch`."""

    kind: type | None
    """The one type of both forms, if they are the same thing; None if something must be done."""
    to_json: Callable[[Any], Any]
    from_json: Callable[[Any], Any]


def shape_of(declared: Any) -> Shape:
    """The shape of a type. Raises `TypeError` for a type that has none."""
    origin = typing.get_origin(declared)
    arguments = typing.get_args(declared)
    if declared in (Any, object):
        return Shape(None, _same, _same)
    if origin is typing.Annotated:
        return shape_of(arguments[0])
    if isinstance(declared, typing.NewType):
        return shape_of(declared.__supertype__)
    if declared in (None, types.NoneType):
        return _plain(types.NoneType)
    if origin in (typing.Union, types.UnionType):
        return _union([shape_of(argument) for argument in arguments])
    if origin is typing.Literal:
        return _literal(arguments)
    if origin in (list, set, frozenset):
        return _sequence(origin, shape_of(arguments[0]))
    if origin is tuple:
        return _tuple(arguments)
    if origin in (dict, Mapping):
        return _mapping(shape_of_key(arguments[0]), shape_of(arguments[1]))
    if isinstance(declared, type):
        return _class(declared)
    raise TypeError(f"values of type {declared!r} cannot be stored")


def shape_of_key(declared: Any) -> Shape:
    """The shape of a mapping's keys, which are texts in JSON."""
    shape = shape_of(declared)
    if declared is str:
        return shape
    if declared is int:
        return Shape(None, lambda key: str(_exactly(int, key)), _int_of_text)
    if isinstance(declared, type) and issubclass(declared, (UUID, datetime, date, Enum)):
        return Shape(None, lambda key: str(shape.to_json(key)), shape.from_json)
    raise TypeError(f"keys of type {declared!r} cannot be stored; use str, int, UUID, date or Enum")


def _class(declared: type) -> Shape:
    if declared is float:
        return Shape(float, _float, _float)
    if declared in PLAIN:
        return _plain(declared)
    if declared in (list, dict):
        return Shape(None, lambda value: _exactly(declared, value), lambda value: _exactly(declared, value))
    if declared is bytes:
        return _text(bytes, lambda value: b64encode(value).decode(), lambda text: b64decode(text, validate=True))
    if declared is timedelta:
        return Shape(None, lambda value: _exactly(timedelta, value) // MICROSECOND, _timedelta)
    if declared in (datetime, date, time):
        return _text(declared, lambda value: value.isoformat(), declared.fromisoformat)  # type: ignore[attr-defined]
    if declared in (UUID, Decimal):
        return _text(declared, str, declared)
    if issubclass(declared, Enum):
        return _enum(declared)
    if dataclasses.is_dataclass(declared):
        return _dataclass(declared)
    if typing.is_typeddict(declared):
        return _typed_dict(declared)
    if issubclass(declared, tuple) and hasattr(declared, "_fields"):
        return _named_tuple(declared)
    raise TypeError(f"values of type {declared.__name__} cannot be stored; declare a dataclass or a TypedDict")


def _same(value: Any) -> Any:
    return value


def _exactly(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise Mismatch(kind.__name__, value)
    return value


def _plain(kind: type) -> Shape:
    def check(value: Any) -> Any:
        return _exactly(kind, value)

    return Shape(kind, check, check)


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    return float(_exactly(int, value))


def _timedelta(value: Any) -> timedelta:
    return timedelta(microseconds=_exactly(int, value))


def _int_of_text(text: str) -> int:
    number = int(text) if text.lstrip("-").isdigit() and text.isascii() else None
    if number is None or str(number) != text:
        raise Mismatch("int", text)
    return number


def _text(kind: type, write: Callable[[Any], str], read: Callable[[str], Any]) -> Shape:
    def from_json(text: Any) -> Any:
        try:
            return read(_exactly(str, text))
        except (ValueError, ArithmeticError) as error:
            raise Mismatch(kind.__name__, text) from error

    return Shape(None, lambda value: write(_exactly(kind, value)), from_json)


def _enum(kind: type[Enum]) -> Shape:
    by_value = all(type(member.value) in (str, int) for member in kind)
    members: dict[Any, Enum] = {(member.value if by_value else member.name): member for member in kind}

    def from_json(value: Any) -> Enum:
        member = members.get(value) if type(value) in (str, int) else None
        if member is None:
            raise Mismatch(kind.__name__, value)
        return member

    return Shape(None, lambda value: _exactly(kind, value).value if by_value else _exactly(kind, value).name, from_json)


def _literal(choices: tuple[Any, ...]) -> Shape:
    known = {(type(choice), choice) for choice in choices}

    def check(value: Any) -> Any:
        if type(value) not in (str, int, bool, types.NoneType) or (type(value), value) not in known:
            raise Mismatch("one of the literals", value)
        return value

    return Shape(None, check, check)


def _union(shapes: list[Shape]) -> Shape:
    def from_json(value: Any) -> Any:
        for shape in shapes:
            try:
                return shape.from_json(value)
            except Mismatch:
                continue
        raise Mismatch("another type", value)

    def to_json(value: Any) -> Any:
        for shape in shapes:
            try:
                written = shape.to_json(value)
            except Mismatch:
                continue
            # An earlier member may read what a later one has written, as str does a datetime's text.
            read = from_json(written)
            if type(read) is type(value) and read == value:
                return written
        raise Mismatch("another type", value)

    return Shape(None, to_json, from_json)


def _sequence(kind: Any, item: Shape) -> Shape:
    return Shape(
        None,
        lambda value: [item.to_json(each) for each in _exactly(kind, value)],
        lambda value: kind(item.from_json(each) for each in _exactly(list, value)),
    )


def _tuple(arguments: tuple[Any, ...]) -> Shape:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return _sequence(tuple, shape_of(arguments[0]))._replace(
            to_json=_sequence(tuple, shape_of(arguments[0])).to_json
        )
    shapes = [shape_of(argument) for argument in arguments]

    def each(value: Any, kind: type, way: int) -> list[Any]:
        if len(_exactly(kind, value)) != len(shapes):
            raise Mismatch(f"{len(shapes)} items", value)
        return [shape[way](item) for shape, item in zip(shapes, value, strict=True)]

    return Shape(None, lambda value: each(value, tuple, 1), lambda value: tuple(each(value, list, 2)))


def _mapping(key: Shape, item: Shape) -> Shape:
    def convert(value: Any, way: int) -> dict[Any, Any]:
        return {key[way](name): item[way](content) for name, content in _exactly(dict, value).items()}

    return Shape(None, lambda value: convert(value, 1), lambda value: convert(value, 2))


def _dataclass(declared: type) -> Shape:
    hints = typing.get_type_hints(declared, include_extras=True)
    fields = [field for field in dataclasses.fields(declared) if field.init]
    shapes = {field.name: shape_of(hints[field.name]) for field in fields}
    names = tuple(shapes)
    kinds = tuple(shape.kind for shape in shapes.values())
    positional = not any(field.kw_only for field in fields)
    from_object, from_dict = _getter(attrgetter, names), _getter(itemgetter, names)

    def to_json(value: Any) -> dict[str, Any]:
        contents = from_object(_exactly(declared, value))
        if tuple(map(type, contents)) == kinds:
            return dict(zip(names, contents, strict=True))
        return {name: shapes[name].to_json(content) for name, content in zip(names, contents, strict=True)}

    def from_json(value: Any) -> Any:
        try:
            contents = from_dict(value)
        except (KeyError, TypeError):
            return _build(declared, _items(value, shapes))
        if positional and tuple(map(type, contents)) == kinds:
            return declared(*contents)
        return _build(declared, _items(value, shapes))

    return Shape(None, to_json, from_json)


def _getter(getter: Any, names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return getter(*names)  # type: ignore[no-any-return]
    single = [getter(name) for name in names]
    return lambda value: tuple(get(value) for get in single)


def _named_tuple(declared: Any) -> Shape:
    hints = typing.get_type_hints(declared, include_extras=True)
    shapes = {name: shape_of(hints.get(name, Any)) for name in declared._fields}

    def to_json(value: Any) -> dict[str, Any]:
        return {name: shapes[name].to_json(item) for name, item in _exactly(declared, value)._asdict().items()}

    return Shape(None, to_json, lambda value: _build(declared, _items(value, shapes)))


def _typed_dict(declared: Any) -> Shape:
    hints = typing.get_type_hints(declared)
    shapes = {name: shape_of(hint) for name, hint in hints.items()}

    def to_json(value: Any) -> dict[str, Any]:
        items = _exactly(dict, value)
        if not declared.__required_keys__ <= items.keys() <= shapes.keys():
            raise Mismatch(f"the keys of {declared.__name__}", value)
        return {name: shapes[name].to_json(item) for name, item in items.items()}

    def from_json(value: Any) -> dict[str, Any]:
        items = _items(value, shapes)
        if not declared.__required_keys__ <= items.keys():
            raise Mismatch(f"the keys of {declared.__name__}", value)
        return items

    return Shape(None, to_json, from_json)


def _items(value: Any, shapes: dict[str, Shape]) -> dict[str, Any]:
    # Names that are not known here come from a newer version of the program.
    return {
        name: shapes[name].from_json(item) for name, item in _exactly(dict, value).items() if name in shapes
    }


def _build(declared: type, items: dict[str, Any]) -> Any:
    try:
        return declared(**items)
    except TypeError as error:
        raise Mismatch(f"the fields of {declared.__name__}", items) from error
