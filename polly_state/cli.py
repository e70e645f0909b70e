"""The command line: ``polly-state``, to see, check and fill what a bot keeps."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from polly_state import (
    Ack,
    ConfigurationError,
    Event,
    Health,
    Mode,
    PollyState,
    Settings,
    StateError,
    StoreUnavailable,
)
from polly_state.events import ModeChanged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["main"]

WORKED: Final = 0
FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130
MAX_SECONDS: Final = 600

DESCRIPTION: Final = "The state and cache layer of asyncio bots."
EPILOG: Final = """\
Redis is found through REDIS_URL or VALKEY_URL, or REDIS_HOST, _PORT, _DB, _USERNAME, _PASSWORD and _TLS.

exit codes:
  0  it worked; for health: the bot can work, degraded or not
  1  it was tried and failed: Redis is away or refuses, a file is not right, a promise was broken
  2  wrong arguments or environment variables; nothing was tried
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    arguments = _parser().parse_args(argv)
    # What is logged as a warning, each command tells in its own way.
    logging.getLogger("polly_state").setLevel(logging.ERROR)
    try:
        settings = Settings.from_env(os.environ)
    except ConfigurationError as error:
        return _fail(str(error), MISUSED)
    command: Callable[[Settings, argparse.Namespace], int] = arguments.command
    try:
        return command(settings, arguments)
    except StateError as error:
        return _fail(str(error), FAILED)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output has enough of it; Python would complain once more at its last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def demo(settings: Settings, arguments: argparse.Namespace) -> int:
    from polly_state.demo import SilentScreen, run, screen_for
    from polly_state.testing import ServerFailed, available

    # Whoever ends it, it cleans up behind itself.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    play = run(
        settings,
        binaries=available(),
        screen=SilentScreen() if arguments.json else screen_for(sys.stdout),
        seconds=arguments.seconds,
        serverless=settings.address is None and _redis_unwanted(os.environ),
    )
    try:
        report = asyncio.run(play)
    except ServerFailed as error:
        return _fail(f"the demo's own server failed: {str(error).splitlines()[0]}", FAILED)
    if arguments.json:
        _print_json(report.as_json())
    return WORKED if report.passed else FAILED


def ping(settings: Settings, arguments: argparse.Namespace) -> int:
    async def measure() -> float:
        async with _strict(settings) as state:
            return await state.ping()

    milliseconds = asyncio.run(measure()) * 1000
    if arguments.json:
        _print_json({"address": str(settings.address), "ms": round(milliseconds, 3)})
    else:
        print(f"{settings.address} answers in {milliseconds:.2f} ms")
    return WORKED


def health(settings: Settings, arguments: argparse.Namespace) -> int:
    reasons: list[str] = []

    def observe(event: Event) -> None:
        if isinstance(event, ModeChanged):
            reasons.append(event.reason)

    async def look() -> Health:
        try:
            async with PollyState(settings, observers=(observe,)) as state:
                return state.health()
        except StateError as error:
            reasons.append(str(error))
            broken = isinstance(error, ConfigurationError)
            mode = Mode.MISCONFIGURED if broken else Mode.DEGRADED
            return Health(ready=False, mode=mode, redis_available=False, pending=0)

    found = asyncio.run(look())
    facts = {
        "ready": found.ready,
        "mode": found.mode.value,
        "redis_available": found.redis_available,
        "pending": found.pending,
        "address": None if settings.embedded else str(settings.address),
        "reason": reasons[-1] if reasons else None,
    }
    if arguments.json:
        _print_json(facts)
    else:
        for name, fact in facts.items():
            print(f"{name.replace('_', ' ')}: {_word(fact)}")
    return WORKED if found.ready else FAILED


def import_(settings: Settings, arguments: argparse.Namespace) -> int:
    if settings.embedded:
        return _fail("no Redis is configured, and nothing else outlives this command; set REDIS_URL", FAILED)

    async def take_over() -> Any:
        async with _strict(settings) as state:
            return await state.preferences.import_file(arguments.file)

    try:
        imported = asyncio.run(take_over())
    except OSError as error:
        return _fail(f"{arguments.file}: {error.strerror or type(error).__name__}", FAILED)
    except ValueError as error:
        return _fail(f"{arguments.file}: {error}; nothing was imported", FAILED)
    if imported.ack < Ack.REMOTE:
        raise StoreUnavailable("Redis went away during the import; run it again")
    if arguments.json:
        _print_json({"users": imported.users, "preferences": imported.preferences})
    else:
        print(f"imported {imported.preferences} preferences of {imported.users} users")
    return WORKED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="polly-state",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    # A default of its own would undo a --json before the command.
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object instead of text"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, command: Callable[..., int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, parents=[common])
        added.set_defaults(command=command)
        return added

    add("demo", demo, "Let a small bot work while its Redis freezes, dies and returns.").add_argument(
        "--seconds", type=_seconds, default=10.0, help="about how long it takes (default: 10)"
    )
    add("ping", ping, "Measure a round trip to Redis.")
    add("health", health, "Tell whether a bot could work now.")
    add("import", import_, "Import voice preferences from a JSON file.").add_argument(
        "file", metavar="FILE", help='JSON of the form {"<user id>:<bot>": true}'
    )
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {MAX_SECONDS}")
    return seconds


def _strict(settings: Settings) -> PollyState:
    return PollyState(replace(settings, required=True), observers=())


def _redis_unwanted(environ: Mapping[str, str]) -> bool:
    return environ.get("USE_REDIS", "").strip().lower() not in ("", "auto")


def _print_json(document: dict[str, Any]) -> None:
    print(json.dumps(document, indent=2))


def _word(fact: object) -> str:
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    return "-" if fact is None else str(fact)


def _fail(message: str, code: int) -> int:
    print(f"polly-state: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
