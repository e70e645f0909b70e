"""The codec: values as bytes that redis-cli can show, back as equal values of the same type.

JSON below 1 KiB, above that a zstd frame where it is smaller; bytes as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from polly_state.errors import CorruptValue, UnsupportedValue
from polly_state.structures.frames import MAX_UNPACKED, Frames, is_frame
from polly_state.structures.mismatch import Mismatch

__all__ = ["Codec"]

T = TypeVar("T")

COMPRESS_FROM: Final = 1024


class Codec(Generic[T]):
    """Encodes values of one declared type; `object` stands for whatever JSON gives back equal."""

    def __init__(self, declared: type[T], *, max_bytes: int = 1024 * 1024) -> None:
        # Imported by who needs it: a program that only imports this package starts sooner.
        import orjson

        from polly_state.structures.shapes import shape_of

        shape = shape_of(declared)
        self._to_json, self._from_json = shape.to_json, shape.from_json
        self._loads, self._dumps = orjson.loads, orjson.dumps
        self._options = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
        self._options |= orjson.OPT_PASSTHROUGH_SUBCLASS
        self._raw = declared is bytes
        self._name = getattr(declared, "__name__", "the declared type")
        self._max_bytes = max_bytes
        self.decode: Callable[[bytes], T] = self._decoder()
        """The value in stored bytes. Raises `CorruptValue` for what this codec cannot have written."""
        self._frames = Frames("a compressed value")

    def encode(self, value: T) -> bytes:
        """Raises `UnsupportedValue` if the value is not of the type, would not come back equal, or is too large."""
        if value is None:
            raise UnsupportedValue("None stands for a missing value and cannot be stored; delete the key instead")
        content = self._dump(value)
        if len(content) > MAX_UNPACKED:
            raise UnsupportedValue(f"a value of {len(content)} bytes is over the limit of {MAX_UNPACKED}; split it")
        if len(content) >= COMPRESS_FROM or is_frame(content):
            packed = self._frames.pack(content)
            if len(packed) < len(content) or is_frame(content):
                content = packed
        if len(content) > self._max_bytes:
            raise UnsupportedValue(f"a value of {len(content)} bytes is over value_bytes, {self._max_bytes}; split it")
        return content

    def _decoder(self) -> Callable[[bytes], T]:
        if self._raw:
            return self._decode_carefully
        loads, from_json, carefully = self._loads, self._from_json, self._decode_carefully

        def decode(content: bytes) -> T:
            # Nearly always this is plain JSON of the right type; whatever is not is looked at again.
            try:
                value = from_json(loads(content))
            except (Mismatch, ValueError, RecursionError):
                return carefully(content)
            return carefully(content) if value is None else value

        return decode

    def _decode_carefully(self, content: bytes) -> T:
        if is_frame(content):
            content = self._frames.unpack(content)
        if self._raw:
            return content  # type: ignore[return-value]
        try:
            value = self._from_json(self._loads(content))
        except Mismatch as error:
            raise CorruptValue(f"what is stored is no {self._name}: {error}; did its type change?") from error
        except (ValueError, RecursionError):
            # The cause would quote the document.
            raise CorruptValue("what is stored is not JSON; something else writes here") from None
        if value is None:
            raise CorruptValue("a null is stored; something else writes here")
        return value  # type: ignore[no-any-return]

    def _dump(self, value: T) -> bytes:
        if self._raw:
            if not isinstance(value, bytes):
                raise UnsupportedValue(f"expected bytes, found {type(value).__name__}")
            return value
        try:
            content = self._dumps(self._to_json(value), option=self._options)
        except (Mismatch, TypeError, RecursionError) as error:
            raise UnsupportedValue(f"this value cannot be stored as {self._name}: {_without_value(error)}") from None
        return content


def _without_value(error: Exception) -> str:
    return str(error) if isinstance(error, Mismatch) else "JSON has no form for something in it"
