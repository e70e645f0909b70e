"""Dictionaries: what the values of a family have in common, so that each takes little more than what is its own.

A dictionary is Zstandard's (RFC 8878, section 5): each frame that was made with it bears its number, so that who does
not have it can tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from polly_state.errors import CorruptValue
from polly_state.structures import Codec

__all__ = ["Dictionary", "train_dictionary"]

MAGIC: Final = b"\x28\xb5\x2f\xfd"
LEVEL: Final = 3
MAX_UNPACKED: Final = 8 * 1024 * 1024
#: Values that are shorter are not worth a frame around them.
PACK_FROM: Final = 64
ENOUGH: Final = 8


class Dictionary:
    """Packs what a codec has made of values."""

    def __init__(self, content: bytes) -> None:
        """Take what `train_dictionary` has made. Raises `ValueError` for what is no dictionary with a number."""
        import zstandard

        dictionary = zstandard.ZstdCompressionDict(content)
        if not dictionary.dict_id():
            raise ValueError("this is no dictionary of Zstandard that bears a number; see train_dictionary")
        dictionary.precompute_compress(level=LEVEL)
        self.content = content
        self._number = dictionary.dict_id()
        self._zstandard = zstandard
        self._compress = zstandard.ZstdCompressor(level=LEVEL, dict_data=dictionary).compress
        self._decompressor = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=MAX_UNPACKED)
        self._plain = zstandard.ZstdDecompressor(max_window_size=MAX_UNPACKED)

    def pack(self, content: bytes) -> bytes:
        """What a codec has made, smaller where that can be."""
        if len(content) < PACK_FROM:
            return content
        whole = self._plain.decompress(content) if content.startswith(MAGIC) else content
        if whole.startswith(MAGIC):
            # Unpacked, it would be taken for packed.
            return content
        packed = self._compress(whole)
        return packed if len(packed) < len(content) else content

    def unpack(self, content: bytes) -> bytes:
        """What the codec had made. Raises `CorruptValue` for what was packed with another dictionary, or is damaged."""
        if content[:4] != MAGIC:
            return content
        try:
            parameters = self._zstandard.get_frame_parameters(content)
            if not parameters.dict_id:
                return content
            if parameters.dict_id != self._number:
                raise CorruptValue("a value was packed with a dictionary that is not the family's")
            if not 0 <= parameters.content_size <= MAX_UNPACKED or parameters.window_size > MAX_UNPACKED:
                raise CorruptValue("a packed value declares no size, or one over the limit; it was not unpacked")
            return self._decompressor.decompress(content, max_output_size=MAX_UNPACKED, allow_extra_data=False)
        except (self._zstandard.ZstdError, MemoryError) as error:
            raise CorruptValue("a packed value is damaged") from error


def train_dictionary(values: Iterable[Any], declared: Any = object, *, size: int = 4096) -> bytes:
    """A dictionary for values of a *declared* type, of *size* bytes at most, made of some hundred that are like them.

    Keep it with the program: every process that is to read the family needs it, and the values are in it in parts.

    Raises:
        UnsupportedValue: One of them cannot be stored.
        ValueError: They are too few, or too small, to have something in common.
    """
    import zstandard

    codec, plain = Codec[Any](declared), zstandard.ZstdDecompressor()
    contents = map(codec.encode, values)
    samples: list[Any] = [plain.decompress(each) if each.startswith(MAGIC) else each for each in contents]
    if len(samples) < ENOUGH:
        raise ValueError(f"a dictionary is made of {ENOUGH} values at least, better of some hundred")
    try:
        return zstandard.train_dictionary(size, samples, level=LEVEL).as_bytes()
    except zstandard.ZstdError:
        raise ValueError("these values are too few or too small to make a dictionary of") from None
