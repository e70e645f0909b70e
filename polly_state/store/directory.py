"""The directory that outlives the process: private to its owner, and never behind a link."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from polly_state.errors import ConfigurationError

__all__ = ["locked", "private_file", "set_aside"]

OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
COMPANIONS: Final = ("", "-wal", "-shm")


def private_file(directory: Path, name: str) -> Path:
    """The file *name* in *directory*, both made if they are missing, with modes 0600 and 0700.

    Raises `ConfigurationError` if either is a link, not ours, or others may write to it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check(directory, stat.S_ISDIR, "a directory")
        path = directory / name
        try:
            # Opened only when it is new: closing a file that SQLite has open would end its locks.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            _check(path, stat.S_ISREG, "a file")
            if stat.S_IMODE(path.lstat().st_mode) & 0o077:
                path.chmod(0o600)
    except OSError as error:
        raise ConfigurationError(
            f"the directory for state cannot be used ({error.strerror or type(error).__name__}); "
            "set POLLY_STATE_DIR to one that this user owns and may write to"
        ) from error
    return path


def set_aside(path: Path) -> Path:
    """Rename a damaged file and its companions; the new name, at which nothing was."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for companion in COMPANIONS:
        source = path.with_name(path.name + companion)
        if source.exists():
            source.rename(aside.with_name(aside.name + companion))
    return aside


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Keep other processes that do the same out, for as long as the context lasts; blocks."""
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _check(path: Path, of_kind: object, kind: str) -> None:
    found = path.lstat()
    if not of_kind(found.st_mode):  # type: ignore[operator]
        raise ConfigurationError(f"POLLY_STATE_DIR: {kind} is needed, and neither a link nor anything else will do")
    if found.st_uid != os.geteuid() or found.st_mode & OTHERS_MAY_WRITE:
        raise ConfigurationError(
            "POLLY_STATE_DIR: it must belong to the user of this process, and others must not be able to write to it; "
            "chmod 700 makes it so"
        )
