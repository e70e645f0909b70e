"""What the demo shows: live on a terminal, plain without rich or without a terminal."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

from polly_state.demo import PlainScreen, screen_for
from polly_state.demo.report import Table
from tests.cli.conftest import environment


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_progress_is_live():
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "polly_state.cli", "demo", "--seconds", "1"],
        env=environment(USE_REDIS="false", TERM="xterm", COLUMNS="100"),
        stdout=slave,
        stderr=subprocess.PIPE,
    )
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 65536):
            shown += chunk
    except OSError:
        pass  # How Linux tells that the other end of a terminal is closed.
    os.close(master)
    assert process.communicate() == (None, b"")
    assert process.returncode == 0
    assert b"\x1b[" in shown
    assert b"What the bot has felt" in shown
    assert b"Promise kept" in shown


def test_without_rich_a_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert isinstance(screen_for(Terminal()), PlainScreen)


def test_a_plain_table_is_aligned_with_texts_to_the_left():
    stream = io.StringIO()
    PlainScreen(stream).show(Table("Title", ("name", "n"), [("a", "10"), ("long name", "1")]))
    assert stream.getvalue() == "\nTitle\n  name        n\n  a          10\n  long name   1\n"
