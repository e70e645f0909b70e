"""What goes over the wire, as types."""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = ["Reply", "Words"]

Words: TypeAlias = tuple[str | bytes | int, ...]
"""A command as Redis takes it."""
Reply: TypeAlias = Any
"""What Redis answers; `Command.decode` makes a type of it."""
