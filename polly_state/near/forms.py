"""Forms: how a value is kept so that nobody who was given it can change it.

What cannot be changed is kept and handed out as it is. A dict, list or set of such parts is copied. Builtin values that
are nested are kept packed by marshal, in process only: as quick to unpack as to copy, smaller, and nothing for the
garbage collector to walk. Dataclasses that can be changed are copied field by field. Anything else is not kept.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from sys import getsizeof
from typing import Any, Final, NamedTuple
from uuid import UUID

__all__ = ["Form", "Forms"]

ATOMS: Final = frozenset((type(None), bool, int, float, str, bytes))
FROZEN: Final = ATOMS | {date, datetime, time, timedelta, timezone, Decimal, UUID, complex}
BRANCHES: Final = frozenset((dict, list, set, tuple, frozenset))
COPIES: Final[dict[type, Callable[[Any], object]]] = {dict: dict.copy, list: list.copy, set: set.copy}
MAX_DEPTH: Final = 100


class Form(NamedTuple):
    """How a value is kept."""

    value: object
    renew: Callable[[object], object] | None
    """Makes of *value* what is handed out; None if that is *value* itself."""
    size: int
    """Bytes in memory, about."""


class Forms:
    """Finds the form to keep a value in."""

    def __init__(self) -> None:
        self._copiers: dict[type, Callable[[Any], object]] = {}

    def form_of(self, value: Any) -> Form | None:
        """The form to keep *value* in; None if it is of a kind, or nested so deeply, that it is not kept."""
        kind = type(value)
        if kind in ATOMS:
            return Form(value, None, getsizeof(value))
        try:
            if kind in COPIES and ATOMS.issuperset(map(type, _parts(value))):
                copy = COPIES[kind]
                return Form(copy(value), copy, getsizeof(value) + sum(map(getsizeof, _parts(value))))
            if _immutable(value, MAX_DEPTH):
                return Form(value, None, _weight(value))
            if _plain(value, MAX_DEPTH):
                packed = marshal.dumps(value)
                return Form(packed, _unpack, getsizeof(packed))
            copy = self._copier(kind) if _flat(value) else _copied
            return Form(copy(value), copy, _weight(value))
        except (AttributeError, TypeError, ValueError, RecursionError):
            return None

    def _copier(self, kind: type) -> Callable[[Any], object]:
        copier = self._copiers.get(kind)
        if copier is None:
            lines = "".join(f"    twin.{name} = value.{name}\n" for name in kind.__dataclass_fields__)  # type: ignore[attr-defined]
            scope: dict[str, Any] = {"new": object.__new__, "kind": kind}
            # As dataclasses makes its own methods; ten times as quick as a loop over the fields.
            exec(f"def copier(value):\n    twin = new(kind)\n{lines}    return twin\n", scope)  # noqa: S102
            copier = self._copiers[kind] = scope["copier"]
        return copier


def _unpack(packed: Any) -> object:
    return marshal.loads(packed)  # noqa: S302 - packed in this process


def _parts(value: Any) -> Iterator[object]:
    """Everything directly in *value*; the fields, if it is a dataclass."""
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif type(value) in BRANCHES or isinstance(value, tuple):
        yield from value
    elif is_dataclass(value):
        yield from (getattr(value, each.name) for each in fields(value))


def _immutable(value: object, depth: int) -> bool:
    kind = type(value)
    if kind in FROZEN or isinstance(value, Enum):
        return True
    named = isinstance(value, tuple) and hasattr(kind, "_fields")
    if kind is tuple or kind is frozenset or named or _frozen_dataclass(kind):
        return depth > 0 and all(_immutable(part, depth - 1) for part in _parts(value))
    return False


def _frozen_dataclass(kind: type) -> bool:
    parameters = getattr(kind, "__dataclass_params__", None)
    return parameters is not None and parameters.frozen and _bare(kind)


def _flat(value: object) -> bool:
    """Whether it is a dataclass that can be changed, of parts that can not."""
    kind = type(value)
    if not _bare(kind) or kind.__setattr__ is not object.__setattr__:
        return False
    return all(_immutable(part, MAX_DEPTH) for part in _parts(value))


def _plain(value: object, depth: int) -> bool:
    """Whether marshal gives it back as it is: it makes bytes of a bytearray, so subclasses are not for it."""
    kind = type(value)
    return kind in ATOMS or (kind in BRANCHES and depth > 0 and all(_plain(part, depth - 1) for part in _parts(value)))


def _copied(value: Any) -> Any:
    kind = value.__class__
    if kind in FROZEN or isinstance(value, Enum):
        return value
    if kind is dict:
        return {
            name if name.__class__ in ATOMS else _copied(name): part if part.__class__ in ATOMS else _copied(part)
            for name, part in value.items()
        }
    if kind in BRANCHES:
        return kind([part if part.__class__ in ATOMS else _copied(part) for part in value])
    if isinstance(value, tuple) and hasattr(kind, "_make"):
        return kind._make(map(_copied, value))
    if not _bare(kind):
        raise TypeError(f"a {kind.__name__} is not kept near")
    twin: Any = object.__new__(kind)
    for name in kind.__dataclass_fields__:
        part = getattr(value, name)
        object.__setattr__(twin, name, part if part.__class__ in ATOMS else _copied(part))
    return twin


def _bare(kind: Any) -> bool:
    """Whether an object of the class is a dataclass's fields and nothing else."""
    plain = kind.__new__ is object.__new__ and kind.__reduce_ex__ is object.__reduce_ex__
    return bool(plain and hasattr(kind, "__dataclass_fields__"))


def _weight(value: object) -> int:
    if type(value) in ATOMS:
        return getsizeof(value)
    kept = getattr(value, "__dict__", None)
    own = getsizeof(value) + (0 if kept is None or isinstance(value, Enum) else getsizeof(kept))
    return own + sum(map(_weight, _parts(value)))
