"""Packing: commands as the bytes that Redis reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import hiredis

from polly_state.wire import Words

__all__ = ["pack"]

pack = cast("Callable[[Words], bytes]", cast("Any", hiredis.pack_command))
"""One command in the Redis serialization protocol; not a function around it, which would cost a fifth more."""
