"""The arguments of the command line, and what ``--help`` tells of them."""

from __future__ import annotations

import argparse
from typing import Final

__all__ = ["parser"]

MAX_SECONDS: Final = 600

DESCRIPTION: Final = "The state and cache layer of asyncio bots."
EPILOG: Final = """\
Redis is found through REDIS_URL or VALKEY_URL, or REDIS_HOST, _PORT, _DB, _USERNAME, _PASSWORD and _TLS.

exit codes:
  0  it worked; for health: the bot can work, degraded or not
  1  it was tried and failed: Redis is away or refuses, a file is not right, a promise was broken
  2  wrong arguments or environment variables; nothing was tried
"""


def parser() -> argparse.ArgumentParser:
    """The parser of ``polly-state``; the name of the command is in `command`."""
    made = argparse.ArgumentParser(
        prog="polly-state",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    # A default of its own would undo a --json before the command.
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object instead of text"
    )
    commands = made.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common])

    add("demo", "Let a small bot work while its Redis freezes, dies and returns.").add_argument(
        "--seconds", type=_seconds, default=10.0, help="about how long it takes (default: 10)"
    )
    add("ping", "Measure a round trip to Redis.")
    add("health", "Tell whether a bot could work now.")
    add("import", "Import voice preferences from a JSON file.").add_argument(
        "file", metavar="FILE", help='JSON of the form {"<user id>:<bot>": true}'
    )
    _add_journal(add("journal", "Look at the writes that wait for Redis in POLLY_STATE_DIR, or act on them."), common)
    return made


def _add_journal(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION", dest="action")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text, parents=[common])

    listed = add("list", "List what waits, oldest first, without its values.")
    listed.add_argument("--dead", action="store_true", help="what was given up instead")
    listed.add_argument("--limit", type=int, default=100, help="so many rows at most (default: 100)")
    add("show", "Show one row, with its values.").add_argument("number", type=int, metavar="NUMBER")
    replayed = add("replay", "Send what waits to Redis now.")
    replayed.add_argument("--dead", action="store_true", help="what was given up too")
    replayed.add_argument("--seconds", type=_seconds, default=60.0, help="how long it may take (default: 60)")
    exported = add("export", "Write all rows with their values to a new file, one JSON object each.")
    exported.add_argument("file", metavar="FILE")
    dropped = add("drop", "Forget rows for good; nothing sends them any more.")
    which = dropped.add_mutually_exclusive_group(required=True)
    which.add_argument("--dead", action="store_true", help="those that were given up")
    which.add_argument("--pending", action="store_true", help="those that wait: acknowledged writes are lost by it")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {MAX_SECONDS}")
    return seconds
