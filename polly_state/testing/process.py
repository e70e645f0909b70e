"""A child process that cannot outlive whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Process"]

# A shell whose input ends when whoever started it is gone, however that happened.
GUARD = 'read -r _; kill -CONT "$1"; kill -KILL "$1"; rm -rf -- "$2"'


class Process:
    """A running child, out of the reach of Ctrl-C; killed and reaped at the latest at exit.

    Args:
        words: The program and its arguments.
        folder: Where its output goes, to a file named `log`; if the starter dies first, the folder
            is deleted.
    """

    def __init__(self, words: Sequence[str | Path], folder: Path) -> None:
        with (folder / "log").open("ab") as log:
            self._child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(self._child.pid), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        self._end = weakref.finalize(self, _end, self._child, guard)

    @property
    def pid(self) -> int:
        """The process id, also when it is gone."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it is there, frozen or not."""
        return self._child.poll() is None

    def freeze(self) -> None:
        """Stop it where it stands (SIGSTOP)."""
        self._child.send_signal(signal.SIGSTOP)
        if sys.platform == "linux" and self.running:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self._child.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it (SIGKILL) and wait until it is gone."""
        self._end()


def _end(child: subprocess.Popen[bytes], guard: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGCONT)
        child.kill()
        child.wait()
    guard.kill()
    guard.communicate()
