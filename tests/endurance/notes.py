"""What a process of an endurance run notes: a line for each thing, which its death does not undo."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

__all__ = ["Notes", "noted"]


class Notes:
    """A file to which lines are added, each in one write."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def add(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


def noted(paths: Iterable[Path], what: str) -> list[list[str]]:
    """The rest of the words of the lines that begin with *what*."""
    lines = (line.split() for path in paths if path.exists() for line in path.read_text().splitlines())
    return [words for first, *words in lines if first == what]
