"""Writing: what a writer owes to the near cache."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polly_state.near import Near

__all__ = ["writing"]


@contextmanager
def writing(near: Near | None, *keys: str) -> Generator[None]:
    """Have nothing held of *keys*, which the block writes to: neither from before it nor from meanwhile."""
    _drop(near, keys)
    try:
        yield
    finally:
        _drop(near, keys)


def _drop(near: Near | None, keys: tuple[str, ...]) -> None:
    if near is not None:
        for key in keys:
            near.drop(key)
