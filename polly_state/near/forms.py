"""Forms: how a value is kept so that nobody who was given it can change it.

What cannot be changed is kept and handed out as it is. A dict, list or set of such parts is copied. Builtin values that
are nested are kept packed by marshal, in process only: as quick to unpack as to copy, smaller, and nothing for the
garbage collector to walk. Of a named tuple only the part that can be changed is made anew. Dataclasses that can be
changed are copied field by field. Anything else is not kept.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Collection, Iterable
from dataclasses import fields
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import cached_property
from sys import getsizeof
from types import MemberDescriptorType
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

__all__ = ["Form", "Forms"]

ATOMS: Final = frozenset((type(None), bool, int, float, str, bytes))
FROZEN: Final = ATOMS | {date, datetime, time, timedelta, timezone, Decimal, UUID, complex}
BRANCHES: Final = frozenset((dict, list, set, tuple, frozenset))
COPIES: Final[dict[type, Callable[[Any], object]]] = {dict: dict.copy, list: list.copy, set: set.copy}
MAX_DEPTH: Final = 100
#: Bytes of a text or number beside its content.
ATOM_OVERHEAD: Final = 48


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
        self._makers: dict[type, Callable[[Any], object]] = {}
        self._slots: dict[type, list[str]] = {}

    def form_of(self, value: Any) -> Form | None:
        """The form to keep *value* in; None if it is of a kind, or nested so deeply, that it is not kept."""
        kind = type(value)
        if kind in ATOMS:
            return Form(value, None, getsizeof(value))
        try:
            if kind in COPIES and ATOMS.issuperset(map(type, _parts(value))):
                copy = COPIES[kind]
                return Form(copy(value), copy, _weight(value))
            if isinstance(value, tuple) and hasattr(kind, "_make"):
                return self._named(value)
            if _immutable(value):
                return Form(value, None, _weight(value))
            if _plain(value):
                packed = marshal.dumps(value)
                return Form(packed, _unpack, getsizeof(packed))
            parts = _flat(value)
            if parts is not None:
                return Form(parts, self._maker(kind), _weight(parts))
            return Form(self._copied(value), self._copied, _weight(value))
        except (AttributeError, TypeError, ValueError, RecursionError):
            return None

    def _named(self, value: tuple[object, ...]) -> Form | None:
        """The form of a named tuple; often one part can be changed, such as a value beside what is known of it."""
        changing = [place for place, part in enumerate(value) if not _immutable(part)]
        if not changing:
            return Form(value, None, _weight(value))
        if len(changing) > 1 or isinstance(value[changing[0]], tuple):
            return Form(self._copied(value), self._copied, _weight(value))
        place = changing[0]
        inner = self.form_of(value[place])
        if inner is None:
            return None
        before, after = value[:place], value[place + 1 :]
        kept = (type(value), before, inner.value, inner.renew, after)
        return Form(kept, _renamed, getsizeof(kept) + _weight(before) + inner.size + _weight(after))

    def _maker(self, kind: type) -> Callable[[Any], object]:
        """What makes an object of a dataclass of its parts, whatever its class does with arguments."""
        maker = self._makers.get(kind)
        if maker is None:
            fields = "".join(f"made.{name}, " for name in _fields(kind))
            scope: dict[str, Any] = {"object_new": object.__new__, "of": kind}
            # As dataclasses makes its own methods; ten times as quick as a loop over the fields.
            head = "def maker(parts, object_new=object_new, of=of):"
            exec(f"{head}\n    made = object_new(of)\n    [{fields}] = parts\n    return made\n", scope)  # noqa: S102
            maker = self._makers[kind] = scope["maker"]
        return maker

    def _copied(self, value: Any) -> Any:
        kind = value.__class__
        if kind in FROZEN or isinstance(value, Enum):
            return value
        copied = self._copied
        if kind is dict:
            return {
                name if name.__class__ in ATOMS else copied(name): part if part.__class__ in ATOMS else copied(part)
                for name, part in value.items()
            }
        if kind in BRANCHES:
            return kind([part if part.__class__ in ATOMS else copied(part) for part in value])
        if isinstance(value, tuple) and hasattr(kind, "_make"):
            return kind._make(map(copied, value))
        if not _bare(kind):
            raise TypeError(f"a {kind.__name__} is not kept near")
        twin: Any = object.__new__(kind)
        own: dict[str, Any] | None = getattr(value, "__dict__", None)
        if own is not None:
            for name, part in own.items():
                twin.__dict__[name] = part if part.__class__ in ATOMS else copied(part)
            return twin
        names = self._slots.get(kind)
        if names is None:
            names = self._slots[kind] = _fields(kind)
        for name in names:
            part = getattr(value, name)
            object.__setattr__(twin, name, part if part.__class__ in ATOMS else copied(part))
        return twin


def _unpack(packed: Any) -> object:
    return marshal.loads(packed)  # noqa: S302 - packed in this process


def _renamed(kept: Any) -> object:
    kind, before, inner, renew, after = kept
    return tuple.__new__(kind, (*before, renew(inner), *after))


def _parts(value: Any) -> Collection[Any]:
    """Everything directly in *value*; the fields, if it is a dataclass, and what it has besides."""
    kind = type(value)
    if kind is dict:
        return [*value, *value.values()]
    if kind in BRANCHES or isinstance(value, tuple):
        return cast("Collection[Any]", value)
    return [getattr(value, name) for name in _names(value)] if _bare(kind) else ()


def _names(value: object) -> Iterable[str]:
    own: dict[str, Any] | None = getattr(value, "__dict__", None)
    if own is None:
        return _fields(type(value))
    if any(isinstance(getattr(type(value), name, None), MemberDescriptorType) for name in _fields(type(value))):
        raise TypeError("what has slots and a dict is not kept near")
    # Also what `__post_init__` has set, and neither class variables nor what is only an argument.
    return own


def _fields(kind: Any) -> list[str]:
    return [each.name for each in fields(kind)]


def _immutable(value: object) -> bool:
    kind = type(value)
    if kind in FROZEN:
        return True
    if kind is tuple or kind is frozenset or _named_or_frozen(kind):
        parts = _parts(value)
        # Most are flat, which is found out without a call for each part.
        return ATOMS.issuperset(map(type, parts)) or (all(_immutable(part) for part in parts))
    return isinstance(value, Enum)


def _named_or_frozen(kind: type) -> bool:
    return (issubclass(kind, tuple) and hasattr(kind, "_make")) or _frozen_dataclass(kind)


def _frozen_dataclass(kind: type) -> bool:
    parameters = getattr(kind, "__dataclass_params__", None)
    return parameters is not None and parameters.frozen and _bare(kind) and not _lazy(kind)


def _lazy(kind: type) -> bool:
    """Whether its objects may get more than they are made of, when they are asked for it."""
    return any(isinstance(each, cached_property) for base in kind.__mro__ for each in vars(base).values())


def _flat(value: object) -> tuple[object, ...] | None:
    """The parts of a dataclass that can be changed, if they can not."""
    kind = type(value)
    if not _bare(kind) or kind.__setattr__ is not object.__setattr__:
        return None
    parts = tuple(_parts(value))
    flat = [*_names(value)] == _fields(kind) and (
        ATOMS.issuperset(map(type, parts)) or all(_immutable(part) for part in parts)
    )
    return parts if flat else None


def _plain(value: object) -> bool:
    """Whether marshal gives it back as it is: it makes bytes of a bytearray, so subclasses are not for it."""
    kind = type(value)
    return kind in ATOMS or (kind in BRANCHES and all(_plain(part) for part in _parts(value)))


def _bare(kind: Any) -> bool:
    """Whether an object of the class is a dataclass's fields and nothing else."""
    plain = kind.__new__ is object.__new__ and kind.__reduce_ex__ is object.__reduce_ex__
    return bool(plain and hasattr(kind, "__dataclass_fields__"))


def _weight(value: Any, depth: int = MAX_DEPTH) -> int:
    """Bytes of a value in memory, about. Raises `ValueError` for one that is nested too deeply."""
    if not depth:
        # It could be copied here, and not where there is less left of the stack.
        raise ValueError("nested too deeply")
    parts, own = _parts(value), getsizeof(value)
    if not parts:
        return own
    if ATOMS.issuperset(map(type, parts)):
        # To ask each part for its size would take twice as long as all the rest of a fill.
        return own + ATOM_OVERHEAD * len(parts) + len(marshal.dumps([*parts]))
    return own + sum(_weight(part, depth - 1) for part in parts)
