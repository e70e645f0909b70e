"""The file that preferences were kept in before: ``{"<user id>:<bot>": true, ...}``."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from polly_state.store import Ack
from polly_state.structures import MAX_FIELD_NAME

__all__ = ["Imported", "parse", "read_preferences"]


class Imported(NamedTuple):
    """What an import has written."""

    users: int
    preferences: int
    ack: Ack
    """The weakest of all."""


def read_preferences(path: str | PathLike[str]) -> dict[int, dict[str, bool]]:
    """The preferences in the file at *path*. Raises `OSError` and `ValueError`; it blocks."""
    return parse(Path(path).read_bytes())


def parse(content: bytes) -> dict[int, dict[str, bool]]:
    """The preferences in a file, by user and bot. Raises `ValueError`, naming the entry but not repeating it."""
    try:
        entries = json.loads(content)
    except ValueError:
        raise ValueError("not a JSON file") from None
    form = '"<user id>:<bot>": true or false'
    if type(entries) is not dict:
        raise ValueError(f"expected an object with entries of the form {form}")
    users: dict[int, dict[str, bool]] = {}
    for number, (name, enabled) in enumerate(entries.items(), start=1):
        user, _, bot = name.partition(":")
        if not (user.isascii() and user.isdigit() and 0 < len(bot) <= MAX_FIELD_NAME and isinstance(enabled, bool)):
            raise ValueError(f"entry {number}: expected {form}")
        users.setdefault(int(user), {})[bot] = enabled
    return users
