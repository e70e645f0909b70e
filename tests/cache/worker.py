"""A process that wants one key: `worker.py URL NAMESPACE CALLERS TAKES LIVENESS`, results as JSON lines.

It says "ready", begins when it is told to on its standard input, says "loading" when its loader runs, and counts the
loads of all processes in Redis.
"""

from __future__ import annotations

import asyncio
import json
import sys

from polly_state import PollyState, Settings


async def main(url: str, namespace: str, callers: int, takes: float, liveness: float) -> None:
    async with PollyState(Settings.from_url(url, namespace=namespace)) as state:
        state.cache._shared.liveness = liveness
        cache = state.cache.family("own", str, ttl=60)

        async def load(key: int) -> str:
            await state.counters("loads").add(key)
            say("loading")
            await asyncio.sleep(takes)
            return f"value of {key}"

        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        results = await asyncio.gather(*(cache.get_or_load(1, load) for _ in range(callers)))
        say({"results": sorted(set(results)), "count": len(results)})


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])))
