"""What a shape says when a value is not of its type."""

from __future__ import annotations

__all__ = ["Mismatch"]


class Mismatch(Exception):
    """A value is not of its declared type."""

    def __init__(self, expected: str, found: object) -> None:
        super().__init__(f"expected {expected}, found {type(found).__name__}")
