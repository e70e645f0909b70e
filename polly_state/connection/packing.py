"""Packing: commands as the bytes that Redis reads."""

from __future__ import annotations

from typing import Any, cast

import hiredis

from polly_state.wire import Words

__all__ = ["pack"]


def pack(words: Words) -> bytes:
    """One command in the Redis serialization protocol."""
    packed: bytes = hiredis.pack_command(cast("Any", words))
    return packed
