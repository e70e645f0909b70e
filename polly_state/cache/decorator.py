"""The decorator: a function whose results are cached under a key made of its arguments."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable
from copy import copy
from functools import update_wrapper
from string import Formatter
from types import MethodType
from typing import (
    Any,
    Concatenate,
    Generic,
    NamedTuple,
    ParamSpec,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from polly_state.cache.family import Cache
from polly_state.store import Ack
from polly_state.structures import Id

__all__ = ["CachedFunction", "Template", "check_function", "result_type"]

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
T = TypeVar("T")


class Field(NamedTuple):
    """What a template names, and how it is to be written."""

    name: str
    spec: str
    conversion: str

    def of(self, arguments: dict[str, Any]) -> str | int | None:
        """What stands for it. Raises `TypeError` for what is missing, or can be no part of a key as it is."""
        form = Formatter()
        try:
            part = form.get_field(self.name, (), arguments)[0]
        except (LookupError, AttributeError) as error:
            raise TypeError(f"the arguments have no {self.name!r}, which the key or a tag names") from error
        if self.spec or self.conversion:
            return str(form.format_field(form.convert_field(part, self.conversion or None), self.spec))
        if part is not None and not isinstance(part, (str, int)):
            raise TypeError(f"the parts of a key are str and int, not {type(part).__name__}; name an attribute")
        return part


class Template:
    """A text with ``{names}`` of a function's parameters, as in ``"leaderboard:{guild_id}"``."""

    def __init__(self, text: str, signature: inspect.Signature) -> None:
        parts = list(Formatter().parse(text))
        self.text = text
        self.names = [name for _, name, _, _ in parts if name is not None]
        self.family, _, rest = (parts[0][0] if parts else "").partition(":")
        """What stands before the first colon, or the first name."""
        literals = [rest, *(literal for literal, _, _, _ in parts[1:])]
        self._pieces: list[str | Field] = []
        for literal, (_, name, spec, conversion) in zip(literals, parts, strict=False):
            self._pieces += [literal.strip(":")] if literal.strip(":") else []
            self._pieces += [Field(name, spec or "", conversion or "")] if name is not None else []
        unknown = {name.partition(".")[0].partition("[")[0] for name in self.names} - signature.parameters.keys()
        if unknown:
            raise ValueError(f"{text!r} names no parameters of the function: {', '.join(sorted(unknown))}")

    def id(self, arguments: dict[str, Any]) -> Id:
        """What follows the family, with what stands for the names.

        Raises `TypeError` for what is neither str, int, bool nor None.
        """
        parts: list[str | int] = []
        odd: list[str] = []
        for number, piece in enumerate(self._pieces):
            part = piece if isinstance(piece, str) else piece.of(arguments)
            if part is None or isinstance(part, bool) or part == "":
                # None of these can be part of an id; where they stand makes one more part, which no other call has.
                odd.append(f"{number}{part}")
                part = "-"
            parts.append(part)
        return (*parts, f"~{'.'.join(odd)}") if odd else tuple(parts) or "-"

    def filled(self, arguments: dict[str, Any]) -> str:
        """The text with what stands for the names. Raises as `id` does."""
        for piece in self._pieces:
            if isinstance(piece, Field):
                piece.of(arguments)
        return self.text.format(**arguments)


class CachedFunction(Generic[P, T]):
    """Called as the function it wraps, also as a method; also says what of it is no longer so."""

    def __init__(
        self, function: Callable[P, Awaitable[T]], cache: Cache[T], key: Template, tags: Iterable[Template]
    ) -> None:
        update_wrapper(self, function)
        self.__wrapped__ = function
        self.cache = cache
        """The family that holds the results."""
        self._signature = inspect.signature(function)
        self._key = key
        self._tags = tuple(tags)
        self._bound: tuple[Any, ...] = ()
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)
        else:
            # What asks `asyncio.iscoroutinefunction`, such as frameworks that take it for a handler, is told so.
            self._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # noqa: SLF001

    __name__: str
    __qualname__: str

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result, cached or new; raises as `Cache.get_or_load` does."""
        arguments = self._arguments(*args, **kwargs)
        tags = [tag.filled(arguments) for tag in self._tags]
        load = self.__wrapped__
        return await self.cache.get_or_load(self._key.id(arguments), lambda _: load(*args, **kwargs), tags=tags)

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> Ack:
        """Let there be no result for these arguments."""
        return await self.cache.delete(self._key.id(self._arguments(*args, **kwargs)))

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> CachedFunction[P, T]: ...

    @overload
    def __get__(
        self: CachedFunction[Concatenate[S, Q], T], instance: S, owner: type | None = None
    ) -> CachedFunction[Q, T]: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        method: Any = copy(self)
        method.__wrapped__ = MethodType(self.__wrapped__, instance)
        method._bound = (instance,)  # noqa: SLF001
        return method

    def _arguments(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        bound = self._signature.bind(*self._bound, *args, **kwargs)
        bound.apply_defaults()
        return bound.arguments


def check_function(function: object) -> None:
    """Raises `TypeError` for what gives no single result when awaited."""
    if isinstance(function, (classmethod, staticmethod)):
        raise TypeError(f"put @{type(function).__name__} above, so that what is cached is the function itself")
    if inspect.isasyncgenfunction(function):
        raise TypeError("an async generator gives no single result that could be cached; return a list")


def result_type(function: Callable[..., Any]) -> Any:
    """What a function says that it gives when awaited. Raises `TypeError` if it does not say, or in words unknown."""
    try:
        declared = get_type_hints(function, include_extras=True).get("return", ...)
    except NameError as error:
        raise TypeError(f"the annotations of the function need {error.name}, which must be imported") from error
    if declared is ...:
        raise TypeError("a cached function needs the type of its result as an annotation")
    if not inspect.iscoroutinefunction(function) and not isinstance(function, CachedFunction):
        origin = get_origin(declared)
        if not isinstance(origin, type) or not issubclass(origin, Awaitable):
            raise TypeError("a cached function is an async function, or is annotated with what can be awaited")
        declared = get_args(declared)[-1]
    return object if declared is Any else declared
