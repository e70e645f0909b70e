"""The decorator: a function whose results are cached under a key made of its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from string import Formatter
from typing import Any, Generic, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from polly_state.cache.family import Cache
from polly_state.store import Ack
from polly_state.structures import Id

__all__ = ["CachedFunction", "Template", "result_type"]

P = ParamSpec("P")
T = TypeVar("T")


class Template:
    """A text with ``{names}`` of a function's parameters, as in ``"leaderboard:{guild_id}"``."""

    def __init__(self, text: str, signature: inspect.Signature) -> None:
        parts = list(Formatter().parse(text))
        self.text = text
        self.names = [name for _, name, _, _ in parts if name is not None]
        self.literal = (parts[0][0] if parts else "").rstrip(":")
        unknown = {name.partition(".")[0].partition("[")[0] for name in self.names} - signature.parameters.keys()
        if unknown:
            raise ValueError(f"{text!r} names no parameters of the function: {', '.join(sorted(unknown))}")

    def parts(self, arguments: dict[str, Any]) -> tuple[str | int, ...]:
        """What stands for the names. Raises `TypeError` for what is neither str nor int."""
        found = tuple(Formatter().get_field(name, (), arguments)[0] for name in self.names)
        for each in found:
            if isinstance(each, bool) or not isinstance(each, (str, int)):
                raise TypeError(f"the parts of a key are str and int, not {type(each).__name__}; name an attribute")
        return found

    def filled(self, arguments: dict[str, Any]) -> str:
        """The text with what stands for the names. Raises as `parts` does."""
        self.parts(arguments)
        return self.text.format(**arguments)


class CachedFunction(Generic[P, T]):
    """Called as the function it wraps; also says what of it is no longer so."""

    def __init__(
        self, function: Callable[P, Awaitable[T]], cache: Cache[T], key: Template, tags: Iterable[Template]
    ) -> None:
        self.__wrapped__ = function
        self.__doc__ = function.__doc__
        self.cache = cache
        """The family that holds the results."""
        self._signature = inspect.signature(function)
        self._key = key
        self._tags = tuple(tags)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result, cached or new; raises as `Cache.get_or_load` does."""
        arguments = self._arguments(*args, **kwargs)
        tags = [tag.filled(arguments) for tag in self._tags]
        return await self.cache.get_or_load(self._id(arguments), lambda _: self.__wrapped__(*args, **kwargs), tags=tags)

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> Ack:
        """Let there be no result for these arguments."""
        return await self.cache.delete(self._id(self._arguments(*args, **kwargs)))

    def _arguments(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def _id(self, arguments: dict[str, Any]) -> Id:
        parts = self._key.parts(arguments)
        return parts or "-"


def result_type(function: Callable[..., Any]) -> Any:
    """What a function says that it gives when awaited. Raises `TypeError` if it does not say, or in words unknown."""
    try:
        declared = get_type_hints(function, include_extras=True).get("return", ...)
    except NameError as error:
        raise TypeError(f"the annotations of the function need {error.name}, which must be imported") from error
    if get_origin(declared) is not None and not inspect.iscoroutinefunction(function):
        origin = get_origin(declared)
        if isinstance(origin, type) and issubclass(origin, Awaitable):
            declared = get_args(declared)[-1]
    if declared is ...:
        raise TypeError("a cached function needs the type of its result as an annotation")
    return object if declared is Any else declared
