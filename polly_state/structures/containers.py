"""Containers: the shapes of lists, sets, tuples, mappings and unions of other shapes."""

from __future__ import annotations

from typing import Any

from polly_state.structures.mismatch import Mismatch
from polly_state.structures.scalars import Shape, exactly

__all__ = ["mapping", "sequence", "tuple_of", "union"]


def sequence(kind: Any, item: Shape) -> Shape:
    """Any number of items of one shape, as a JSON array."""
    return Shape(
        None,
        lambda value: [item.to_json(each) for each in exactly(kind, value)],
        lambda value: kind(item.from_json(each) for each in exactly(list, value)),
    )


def tuple_of(shapes: list[Shape]) -> Shape:
    """A tuple with a shape for each place, as a JSON array."""

    def paired(value: Any, kind: type) -> list[tuple[Shape, Any]]:
        if len(exactly(kind, value)) != len(shapes):
            raise Mismatch(f"{len(shapes)} items", value)
        return list(zip(shapes, value, strict=True))

    return Shape(
        None,
        lambda value: [shape.to_json(item) for shape, item in paired(value, tuple)],
        lambda value: tuple(shape.from_json(item) for shape, item in paired(value, list)),
    )


def mapping(key: Shape, item: Shape) -> Shape:
    """Keys of one shape, written as texts, and items of another, as a JSON object."""
    return Shape(
        None,
        lambda value: {key.to_json(name): item.to_json(each) for name, each in exactly(dict, value).items()},
        lambda value: {key.from_json(name): item.from_json(each) for name, each in exactly(dict, value).items()},
    )


def union(shapes: list[Shape]) -> Shape:
    """Whichever of several shapes takes the value, and gives it back."""

    def fitting(value: Any) -> list[Shape]:
        return sorted(shapes, key=lambda shape: shape.kind is not type(value))

    def from_json(value: Any) -> Any:
        for shape in fitting(value):
            try:
                return shape.from_json(value)
            except Mismatch:
                continue
        raise Mismatch("another type", value)

    def to_json(value: Any) -> Any:
        for shape in fitting(value):
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
