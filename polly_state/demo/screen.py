"""The screen: live progress where there is a terminal, plain lines where there is none, nothing for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TextIO

from polly_state.demo.report import Table

if TYPE_CHECKING:
    from typing import Self

    from rich.console import Console, RenderableType
    from rich.live import Live

__all__ = ["PlainScreen", "Progress", "Screen", "SilentScreen", "screen_for"]


class Progress(NamedTuple):
    """How far the demo is."""

    phase: str
    elapsed: float
    of: float
    mode: str
    calls: int
    pending: int


class Screen(Protocol):
    """Where the demo shows itself; within ``with`` while there is progress to show."""

    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None: ...

    def say(self, line: str) -> None:
        """Show a line that stays."""

    def update(self, progress: Progress) -> None:
        """Show how far it is."""

    def show(self, table: Table) -> None:
        """Show a table that stays."""


class SilentScreen:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def say(self, line: str) -> None:
        """See `Screen`."""

    def update(self, progress: Progress) -> None:
        """See `Screen`."""

    def show(self, table: Table) -> None:
        """See `Screen`."""


class PlainScreen(SilentScreen):
    """Writes lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, line: str) -> None:
        """See `Screen`."""
        self._stream.write(line + "\n")
        self._stream.flush()

    def show(self, table: Table) -> None:
        """See `Screen`."""
        rows = [table.header, *table.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        self.say(f"\n{table.title}")
        for row in rows:
            cells = [
                cell.ljust(width) if number in table.texts else cell.rjust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            self.say("  " + "  ".join(cells).rstrip())


class RichScreen:
    """Keeps one line of progress below what was said, drawn by rich."""

    def __init__(self, console: Console, live: Live) -> None:
        self._console = console
        self._live = live

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.update("")
        self._live.stop()

    def say(self, line: str) -> None:
        """See `Screen`."""
        self._console.print(line, markup=False, highlight=False)

    def update(self, progress: Progress) -> None:
        """See `Screen`."""
        self._live.update(_line(progress), refresh=True)

    def show(self, table: Table) -> None:
        """See `Screen`."""
        from rich import box
        from rich.table import Table as RichTable

        drawn = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
        for number, name in enumerate(table.header):
            drawn.add_column(name, justify="left" if number in table.texts else "right")
        for row in table.rows:
            drawn.add_row(*row)
        self._console.print(drawn)


def screen_for(stream: TextIO) -> Screen:
    """The best screen for *stream*: rich on a terminal, if it is installed."""
    if not stream.isatty():
        return PlainScreen(stream)
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        return PlainScreen(stream)
    console = Console(file=stream)
    return RichScreen(console, Live(console=console, auto_refresh=False, transient=True))


def _line(progress: Progress) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table as RichTable
    from rich.text import Text

    colour = "green" if progress.mode in ("connected", "embedded") else "yellow"
    line = RichTable.grid(padding=(0, 2), pad_edge=False)
    line.add_row(
        ProgressBar(total=progress.of, completed=min(progress.elapsed, progress.of), width=24),
        Text(progress.phase, style="bold"),
        Text(progress.mode, style=colour),
        f"{progress.calls:,} calls",
        f"{progress.pending} pending",
    )
    return line
