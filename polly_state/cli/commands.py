"""The commands, each with its exit code."""

from __future__ import annotations

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
from polly_state.cli.arguments import parser
from polly_state.events import ModeChanged

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

__all__ = ["main"]

WORKED: Final = 0
FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    commands = {"demo": demo, "ping": ping, "health": health, "import": import_, "journal": journal}
    arguments = parser().parse_args(argv)
    # What is logged as a warning, each command tells in its own way.
    logging.getLogger("polly_state").setLevel(logging.ERROR)
    try:
        settings = Settings.from_env(os.environ)
    except ConfigurationError as error:
        return _fail(str(error), MISUSED)
    try:
        return commands[arguments.command](settings, arguments)
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


def journal(settings: Settings, arguments: argparse.Namespace) -> int:
    from polly_state.cli.journal import run, show

    try:
        found = run(settings, arguments)
    except LookupError as error:
        return _fail(str(error.args[0]), FAILED)
    except OSError as error:
        return _fail(f"{arguments.file}: {error.strerror or type(error).__name__}", FAILED)
    if arguments.json:
        _print_json(found)
    else:
        show(found)
    return WORKED


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
