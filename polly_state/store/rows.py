"""Rows: commands as texts, for a journal that outlives the process."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from polly_state.commands import Command
from polly_state.errors import CorruptValue

__all__ = ["dump", "kinds", "load"]

#: Made once: `json.dumps` with an argument makes an encoder each time.
ENCODE: Final = json.JSONEncoder(ensure_ascii=False).encode


def kinds(root: type[Command[Any]] = Command) -> dict[str, type[Command[Any]]]:
    """Every kind of command there is, by its name."""
    found: dict[str, type[Command[Any]]] = {}
    for kind in root.__subclasses__():
        found |= {kind.__name__: kind} | kinds(kind)
    return found


def dump(command: Command[Any]) -> str:
    """The fields of an absolute *command*, without its key, as JSON."""
    held = {}
    for each in fields(command):
        value = getattr(command, each.name)
        if value != each.default and each.name != "key":
            held[each.name] = _plain(value)
    return ENCODE(held)


def load(kind: type[Command[Any]] | None, key: str, text: str) -> Command[Any]:
    """The command again. Raises `CorruptValue` if it cannot be made of *text*."""
    if kind is None:
        raise CorruptValue("a row of the journal is of a kind that this version does not know")
    try:
        return kind(key, **{name: _rich(value) for name, value in json.loads(text).items()})
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise CorruptValue("a row of the journal is not what this version writes") from error


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        try:
            return {"text": value.decode()}
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {"map": {name: _plain(each) for name, each in value.items()}}
    return value


def _rich(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((form, content),) = value.items()
    if form == "map":
        return {name: _rich(each) for name, each in content.items()}
    return content.encode() if form == "text" else base64.b64decode(content, validate=True)
