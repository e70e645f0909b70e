"""Shapes: how the values of a declared type become JSON, and come back as exactly that type."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from typing import Any
from uuid import UUID

from polly_state.structures.containers import mapping, sequence, tuple_of, union
from polly_state.structures.mismatch import Mismatch
from polly_state.structures.records import dataclass_shape, named_tuple_shape, typed_dict_shape
from polly_state.structures.scalars import Shape, exactly, int_of_text, literal, native, plain, scalar

__all__ = ["Shape", "shape_of"]


def shape_of(declared: Any) -> Shape:
    """The shape of a type. Raises `TypeError` for a type that has none."""
    if declared in (Any, object):
        return Shape(None, native, lambda value: value)
    if declared in (None, types.NoneType):
        return plain(types.NoneType)
    if isinstance(declared, typing.NewType):
        return shape_of(declared.__supertype__)
    origin = typing.get_origin(declared)
    if origin is not None:
        return _generic(origin, typing.get_args(declared), declared)
    if isinstance(declared, type):
        return _class(declared)
    raise TypeError(f"values of type {declared!r} cannot be stored")


def _generic(origin: Any, arguments: tuple[Any, ...], declared: Any) -> Shape:
    if origin is typing.Annotated:
        return shape_of(arguments[0])
    if origin in (typing.Required, typing.NotRequired):
        return shape_of(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return union([shape_of(argument) for argument in arguments])
    if origin is typing.Literal:
        return literal(arguments)
    if origin in (list, set, frozenset) or (origin is tuple and arguments[1:] == (Ellipsis,)):
        return sequence(origin, shape_of(arguments[0]))
    if origin is tuple:
        return tuple_of([shape_of(argument) for argument in arguments])
    if origin in (dict, Mapping):
        return mapping(_key_shape(arguments[0]), shape_of(arguments[1]))
    raise TypeError(f"values of type {declared!r} cannot be stored")


def _class(declared: type) -> Shape:
    single = scalar(declared)
    if single is not None:
        return single
    if declared is list or declared is dict:
        return Shape(None, lambda value: native(exactly(declared, value)), lambda value: exactly(declared, value))
    if dataclasses.is_dataclass(declared):
        return dataclass_shape(declared, shape_of)
    if typing.is_typeddict(declared):
        return typed_dict_shape(declared, shape_of)
    if issubclass(declared, tuple) and hasattr(declared, "_fields"):
        return named_tuple_shape(declared, shape_of)
    raise TypeError(f"values of type {declared.__name__} cannot be stored; declare a dataclass or a TypedDict")


def _key_shape(declared: Any) -> Shape:
    """The shape of a mapping's keys, which are texts in JSON."""
    shape = shape_of(declared)
    if declared is str:
        return shape
    if declared is int:
        return Shape(None, lambda key: str(exactly(int, key)), int_of_text)
    if declared in (datetime, date, UUID):
        return shape
    if isinstance(declared, type) and issubclass(declared, Enum):
        members = {str(shape.to_json(member)): member for member in declared}
        return Shape(None, lambda key: str(shape.to_json(key)), lambda text: _member(members, text))
    raise TypeError(f"keys of type {declared!r} cannot be stored; use str, int, UUID, date or Enum")


def _member(members: dict[str, Any], text: str) -> Any:
    if text not in members:
        raise Mismatch("the name of a member", text)
    return members[text]
