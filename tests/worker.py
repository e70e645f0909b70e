"""A process of a bot, for the tests that need two: `worker.py URL NAMESPACE JOB COUNT AT_ONCE`, results as JSON lines.

It says "ready", and begins when it is told to on its standard input.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys

from polly_state import Ack, Mode, PollyState, Settings, StoreUnavailable
from polly_state.events import ModeChanged
from polly_state.services.history import Track

PATIENCE = 30.0


async def main(url: str, namespace: str, job: str, count: int, at_once: int) -> None:
    modes = []

    def observe(event) -> None:
        if isinstance(event, ModeChanged):
            modes.append(event.mode.value)

    settings = Settings.from_url(url, namespace=namespace)
    async with PollyState(settings, observers=(observe,)) as state:
        # What a process has seen of a key it can change in an outage too.
        await state.preferences.is_enabled(1, "bot")
        for step in (1, -1):
            await state.counters("plays").add("x", step)
        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        gate = asyncio.Semaphore(at_once)

        async def guarded():
            async with gate:
                return await JOBS[job](state)

        results = await asyncio.gather(*(guarded() for _ in range(count)))
        async with asyncio.timeout(PATIENCE):
            while state.mode is not Mode.CONNECTED:
                await asyncio.sleep(0.005)
        statistics = state.statistics().connection
        say({"results": results, "modes": modes, "retries": statistics.retries, "made": statistics.connections})


async def toggle(state: PollyState) -> bool:
    return await state.preferences.toggle(1, "bot")


async def required_toggle(state: PollyState) -> bool | None:
    """The new state, or None if it is not known whether it was turned."""
    while True:
        try:
            return await state.fields("preferences", bool).toggle(1, "bot", require=Ack.REMOTE)
        except StoreUnavailable as error:
            if error.maybe_applied:
                return None
        await asyncio.sleep(0.005)


async def add(state: PollyState) -> int:
    return await state.counters("plays").add("x")


async def use_services(state: PollyState) -> tuple[str, list[str], object]:
    """The track that was heard, the sessions that ended for a login, and what was restored."""
    track = Track(secrets.token_hex(8), "Song")
    gone, restored, _ = await asyncio.gather(
        state.sessions.create("user", track.id),
        state.snapshots.restore("guild"),
        state.history.add("guild", track),
    )
    return track.id, list(gone), None if restored is None else restored.content


JOBS = {"toggle": toggle, "required_toggle": required_toggle, "add": add, "use_services": use_services}


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
