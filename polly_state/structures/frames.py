"""Frames of Zstandard (RFC 8878), unpacked only when it is known what they come to.

No JSON text starts as a frame does, so that no mark is needed. The size limit of zstandard itself does not hold when a
frame declares its size, so what a frame declares is looked at first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from polly_state.errors import CorruptValue

__all__ = ["MAX_UNPACKED", "Frames", "is_frame", "trained"]

MAGIC: Final = b"\x28\xb5\x2f\xfd"
LEVEL: Final = 3
MAX_UNPACKED: Final = 8 * 1024 * 1024


class Frames:
    """Packs, and unpacks; errors speak of *what* it is that was packed."""

    def __init__(self, what: str, dictionary: bytes | None = None) -> None:
        """Use a *dictionary* that `trained` has made. Raises `ValueError` for what is none, or bears no number."""
        # Imported by who needs it: a program that only imports this package starts sooner.
        import zstandard

        self.number = 0
        """That of the dictionary, which its frames bear; 0 without one."""
        options: dict[str, Any] = {}
        if dictionary is not None:
            made = options["dict_data"] = zstandard.ZstdCompressionDict(dictionary)
            self.number = made.dict_id()
            if not self.number:
                raise ValueError("this is no dictionary of Zstandard that bears a number; see train_dictionary")
            made.precompute_compress(level=LEVEL)
        self.pack: Callable[[bytes], bytes] = zstandard.ZstdCompressor(level=LEVEL, **options).compress
        """The frame of a content."""
        self._decompress = zstandard.ZstdDecompressor(max_window_size=MAX_UNPACKED, **options).decompress
        self._parameters = zstandard.get_frame_parameters
        self._error = zstandard.ZstdError
        self._what = what

    def unpack(self, frame: bytes) -> bytes:
        """The content of a frame. Raises `CorruptValue` for one that is damaged, or larger than is allowed."""
        try:
            parameters = self._parameters(frame)
            if not 0 <= parameters.content_size <= MAX_UNPACKED or parameters.window_size > MAX_UNPACKED:
                raise CorruptValue(f"{self._what} declares no size, or one over the limit; it was not unpacked")
            return self._decompress(frame, max_output_size=MAX_UNPACKED, allow_extra_data=False)
        except (self._error, MemoryError) as error:
            raise CorruptValue(f"{self._what} is damaged") from error

    def dictionary_of(self, frame: bytes) -> int:
        """The number of the dictionary that a frame was made with; 0 for none. Raises as `unpack` does."""
        try:
            return self._parameters(frame).dict_id
        except self._error as error:
            raise CorruptValue(f"{self._what} is damaged") from error


def is_frame(content: bytes) -> bool:
    """Whether a content starts as frames do."""
    return content[:4] == MAGIC


def trained(samples: Iterable[bytes], size: int) -> bytes:
    """A dictionary of *size* bytes at most. Raises `ValueError` for samples too few, or with nothing in common."""
    import zstandard

    found: list[Any] = [*samples]
    try:
        return zstandard.train_dictionary(size, found, level=LEVEL).as_bytes()
    except zstandard.ZstdError:
        raise ValueError("these values are too few or too small to make a dictionary of") from None
