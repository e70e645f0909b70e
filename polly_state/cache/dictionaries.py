"""Dictionaries: what the values of a family have in common, so that each takes little more than what is its own.

A dictionary is Zstandard's (RFC 8878, section 5): each frame that was made with it bears its number, so that who does
not have it can tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from polly_state.errors import CorruptValue
from polly_state.structures import Codec
from polly_state.structures.frames import Frames, is_frame, trained

__all__ = ["Dictionary", "train_dictionary"]

#: Values that are shorter are not worth a frame around them.
PACK_FROM: Final = 64
ENOUGH: Final = 8
WHAT: Final = "a packed value"


class Dictionary:
    """Packs what a codec has made of values."""

    def __init__(self, content: bytes) -> None:
        """Take what `train_dictionary` has made. Raises `ValueError` for what is no dictionary with a number."""
        self.content = content
        self._frames = Frames(WHAT, content)
        self._plain = Frames(WHAT)

    def pack(self, content: bytes) -> bytes:
        """What a codec has made, smaller where that can be."""
        if len(content) < PACK_FROM:
            return content
        whole = self._plain.unpack(content) if is_frame(content) else content
        if is_frame(whole):
            # Unpacked, it would be taken for packed.
            return content
        packed = self._frames.pack(whole)
        return packed if len(packed) < len(content) else content

    def unpack(self, content: bytes) -> bytes:
        """What the codec had made. Raises `CorruptValue` for what was packed with another dictionary, or is damaged."""
        if not is_frame(content):
            return content
        number = self._frames.dictionary_of(content)
        if not number:
            return content
        if number != self._frames.number:
            raise CorruptValue("a value was packed with a dictionary that is not the family's")
        return self._frames.unpack(content)


def train_dictionary(values: Iterable[Any], declared: Any = object, *, size: int = 4096) -> bytes:
    """A dictionary for values of a *declared* type, of *size* bytes at most, made of some hundred that are like them.

    Keep it with the program: every process that is to read the family needs it, and the values are in it in parts.

    Raises:
        UnsupportedValue: One of them cannot be stored.
        ValueError: They are too few, or too small, to have something in common.
    """
    codec, plain = Codec[Any](declared), Frames(WHAT)
    contents = map(codec.encode, values)
    samples = [plain.unpack(each) if is_frame(each) else each for each in contents]
    if len(samples) < ENOUGH:
        raise ValueError(f"a dictionary is made of {ENOUGH} values at least, better of some hundred")
    return trained(samples, size)
