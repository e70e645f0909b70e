"""The codec: values as bytes that redis-cli can show, back as equal values of the same type.

JSON below 1 KiB, above that a zstd frame where it is smaller; bytes as they are. A zstd frame starts with bytes that
no JSON text can start with, so no mark is needed. Before a frame is unpacked, its declared size and window are checked:
the size limit of zstandard itself does not hold when the frame declares a size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from polly_state.errors import CorruptValue, UnsupportedValue
from polly_state.structures.mismatch import Mismatch

__all__ = ["Codec"]

T = TypeVar("T")

MAGIC: Final = b"\x28\xb5\x2f\xfd"
COMPRESS_FROM: Final = 1024
MAX_UNPACKED: Final = 8 * 1024 * 1024
MAX_WINDOW: Final = 8 * 1024 * 1024


class Codec(Generic[T]):
    """Encodes values of one declared type; `object` stands for whatever JSON gives back equal."""

    def __init__(self, declared: type[T], *, max_bytes: int = 1024 * 1024) -> None:
        # Imported by who needs them: a program that only imports this package starts sooner.
        import orjson
        import zstandard

        from polly_state.structures.shapes import shape_of

        shape = shape_of(declared)
        self._to_json, self._from_json = shape.to_json, shape.from_json
        self._loads, self._dumps = orjson.loads, orjson.dumps
        self._options = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
        self._options |= orjson.OPT_PASSTHROUGH_SUBCLASS
        self._zstandard = zstandard
        self._raw = declared is bytes
        self._name = getattr(declared, "__name__", "the declared type")
        self._max_bytes = max_bytes
        self.decode: Callable[[bytes], T] = self._decoder()
        """The value in stored bytes. Raises `CorruptValue` for what this codec cannot have written."""
        self._compressor = zstandard.ZstdCompressor(level=3)
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)

    def encode(self, value: T) -> bytes:
        """Raises `UnsupportedValue` if the value is not of the type, would not come back equal, or is too large."""
        if value is None:
            raise UnsupportedValue("None stands for a missing value and cannot be stored; delete the key instead")
        content = self._dump(value)
        if len(content) > MAX_UNPACKED:
            raise UnsupportedValue(f"a value of {len(content)} bytes is over the limit of {MAX_UNPACKED}; split it")
        if len(content) >= COMPRESS_FROM or content.startswith(MAGIC):
            packed = self._compressor.compress(content)
            if len(packed) < len(content) or content.startswith(MAGIC):
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
        if content[:4] == MAGIC:
            content = self._unpack(content)
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

    def _unpack(self, frame: bytes) -> bytes:
        try:
            parameters = self._zstandard.get_frame_parameters(frame)
            if not 0 <= parameters.content_size <= MAX_UNPACKED or parameters.window_size > MAX_WINDOW:
                raise CorruptValue("a compressed value declares no size, or one over the limit; it was not unpacked")
            return self._decompressor.decompress(frame, max_output_size=MAX_UNPACKED, allow_extra_data=False)
        except (self._zstandard.ZstdError, MemoryError) as error:
            raise CorruptValue("a compressed value is damaged") from error


def _without_value(error: Exception) -> str:
    return str(error) if isinstance(error, Mismatch) else "JSON has no form for something in it"
