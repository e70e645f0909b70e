"""Histories: what a worker asked for and was told, one line each, which survives the end of the worker."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import orjson

INVOKED, TOLD, FAILED, MODE, ENDED = "invoked", "told", "failed", "mode", "ended"


class History:
    """Written with one system call for each line: `kill -9` loses none that was written."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._number = 0

    def invoked(self, kind: str, key: str, value: Any) -> int:
        """Note a call before it is made; its number."""
        self._number += 1
        self._write(INVOKED, self._number, kind, key, value)
        return self._number

    def told(self, number: int, result: Any, label: str | None, degraded: bool) -> None:
        """Note what a call gave."""
        self._write(TOLD, number, result, label, degraded)

    def failed(self, number: int, error: str, maybe_applied: bool) -> None:
        """Note that a call raised."""
        self._write(FAILED, number, error, maybe_applied)

    def mode(self, mode: str) -> None:
        """Note that the worker's state went to another mode."""
        self._write(MODE, mode)

    def ended(self, **figures: Any) -> None:
        """Note that the worker is done, with nothing pending, and what it measured."""
        self._write(ENDED, figures)

    def _write(self, kind: str, *parts: Any) -> None:
        os.write(self._file, orjson.dumps((kind, time.monotonic(), *parts)) + b"\n")


class Call:
    """One call, and what became of it: told, failed, or neither if its worker was killed."""

    __slots__ = ("began", "degraded", "ended", "error", "key", "kind", "label", "maybe", "result", "value")

    def __init__(self, began: float, kind: str, key: str, value: Any) -> None:
        self.began, self.kind, self.key, self.value = began, kind, key, value
        self.ended: float | None = None
        self.result: Any = None
        self.label: str | None = None
        self.error: str | None = None
        self.degraded = False
        self.maybe = True

    @property
    def acknowledged(self) -> bool:
        """Whether the caller was told that it is done."""
        return self.ended is not None and self.error is None


class Past(NamedTuple):
    """All that one worker has noted; times are of the host's monotonic clock."""

    calls: list[Call]
    modes: list[tuple[float, str]]
    figures: dict[str, Any] | None
    """None if it did not end in peace."""


def read(path: Path) -> Past:
    """The history that a worker has left."""
    calls: dict[int, Call] = {}
    modes: list[tuple[float, str]] = []
    figures = None
    for line in path.read_bytes().splitlines():
        kind, at, *parts = orjson.loads(line)
        if kind == INVOKED:
            number, *call = parts
            calls[number] = Call(at, *call)
        elif kind == TOLD:
            call = calls[parts[0]]
            call.ended, call.maybe = at, False
            call.result, call.label, call.degraded = parts[1:]
        elif kind == FAILED:
            call = calls[parts[0]]
            call.ended = at
            call.error, call.maybe = parts[1:]
        elif kind == MODE:
            modes.append((at, parts[0]))
        else:
            figures = parts[0]
    return Past(list(calls.values()), modes, figures)
