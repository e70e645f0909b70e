"""Shapes of records: dataclasses, named tuples and typed dicts, as JSON objects."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from polly_state.structures.mismatch import Mismatch
from polly_state.structures.scalars import Shape, exactly

__all__ = ["ShapeOf", "dataclass_shape", "named_tuple_shape", "typed_dict_shape"]

ShapeOf = Callable[[Any], Shape]
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def dataclass_shape(declared: type, shape_of: ShapeOf) -> Shape:
    """Fields by name; one that is missing takes its default."""
    hints = hints_of(declared)
    fields = [field for field in dataclasses.fields(declared) if field.init]
    shapes = {field.name: shape_of(hints[field.name]) for field in fields}
    names = tuple(shapes)
    kinds = [shape.kind for shape in shapes.values()]
    positional = not any(field.kw_only for field in fields)
    simple = float not in kinds
    computed = len(fields) < len(dataclasses.fields(declared))
    if required_arguments(declared) - shapes.keys():
        raise TypeError(f"{declared.__name__} needs arguments that are no fields; such values cannot be stored")
    order = list(names)
    from_object = _getter(attrgetter, names)

    def to_json(value: Any) -> dict[str, Any]:
        contents = from_object(exactly(declared, value))
        if simple and [*map(type, contents)] == kinds and not computed:
            return dict(zip(names, contents, strict=True))
        items = {name: shapes[name].to_json(content) for name, content in zip(names, contents, strict=True)}
        if computed and from_json(items) != value:
            raise Mismatch(f"a {declared.__name__} as its arguments make it", value)
        return items

    def from_json(value: Any) -> Any:
        if type(value) is dict and positional and [*value] == order:
            contents = value.values()
            if [*map(type, contents)] == kinds:
                try:
                    return declared(*contents)
                except Exception as error:
                    raise _unfit(declared, value) from error
        return _build(declared, _items(value, shapes))

    return Shape(None, to_json, from_json)


def hints_of(declared: type) -> dict[str, Any]:
    """The annotations as types. Raises `TypeError` for one that can not be resolved at run time."""
    try:
        return typing.get_type_hints(declared, include_extras=True)
    except NameError as error:
        raise TypeError(f"the annotations of {declared.__name__} need {error.name}, which must be imported") from error


def required_arguments(declared: type) -> set[str]:
    """The names that must be given to make one."""
    parameters = inspect.signature(declared).parameters.values()
    return {each.name for each in parameters if each.default is each.empty and each.kind in NAMED}


def _getter(getter: Any, names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return getter(*names)  # type: ignore[no-any-return]
    if not names:
        return lambda _: ()
    single = getter(names[0])
    return lambda value: (single(value),)


def named_tuple_shape(declared: Any, shape_of: ShapeOf) -> Shape:
    """Fields by name; one that is missing takes its default."""
    hints = hints_of(declared)
    shapes = {name: shape_of(hints.get(name, Any)) for name in declared._fields}

    def to_json(value: Any) -> dict[str, Any]:
        return {name: shapes[name].to_json(item) for name, item in exactly(declared, value)._asdict().items()}

    return Shape(None, to_json, lambda value: _build(declared, _items(value, shapes)))


def typed_dict_shape(declared: Any, shape_of: ShapeOf) -> Shape:
    """The declared keys, and no other."""
    hints = hints_of(declared)
    shapes = {name: shape_of(hint) for name, hint in hints.items()}
    # Where annotations are strings, the class itself does not know which keys are required.
    marks = {name: typing.get_origin(hint) for name, hint in hints.items()}
    required = {name for name in declared.__required_keys__ if marks[name] is not typing.NotRequired}
    required |= {name for name, mark in marks.items() if mark is typing.Required}

    def to_json(value: Any) -> dict[str, Any]:
        items = exactly(dict, value)
        if not required <= items.keys() <= shapes.keys():
            raise Mismatch(f"the keys of {declared.__name__}", value)
        return {name: shapes[name].to_json(item) for name, item in items.items()}

    def from_json(value: Any) -> dict[str, Any]:
        items = _items(value, shapes)
        if not required <= items.keys():
            raise Mismatch(f"the keys of {declared.__name__}", value)
        return items

    return Shape(None, to_json, from_json)


def _items(value: Any, shapes: dict[str, Shape]) -> dict[str, Any]:
    # Names that are not known here come from a newer version of the program.
    return {name: shapes[name].from_json(item) for name, item in exactly(dict, value).items() if name in shapes}


def _build(declared: type, items: dict[str, Any]) -> Any:
    try:
        return declared(**items)
    except Exception as error:
        # Whatever its own checks raise, also those that came after it was stored.
        raise _unfit(declared, items) from error


def _unfit(declared: type, items: dict[str, Any]) -> Mismatch:
    return Mismatch(f"the fields of {declared.__name__}", items)
