"""Runs the samples with another import and tells what they came to, as a JSON line: `run_samples.py MARKDOWN`."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import sys
import time
from pathlib import Path

SAMPLE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
FORMER = re.compile(r"from redis_(?:client|\w+_migration) import")


def main(markdown: str) -> None:
    to_file = []
    names = {
        "pid": 777,
        "room_url": "https://room.url",
        "participants": ["user1"],
        "write_heartbeat_file": lambda *beat: to_file.append(beat),
    }
    samples = SAMPLE.findall(Path(markdown).read_text())
    for number, sample in enumerate(samples):
        source = FORMER.sub("from polly_state.compat.nia import", sample)
        code = compile(source, f"sample {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if "client." in sample and "client = " not in sample:
            exec("from polly_state.compat.nia import get_redis_client", names)  # noqa: S102
            names["client"] = asyncio.run(names["get_redis_client"]())
        coroutine = eval(code, names)  # noqa: S307
        if coroutine is not None:
            asyncio.run(coroutine)
    asyncio.run(names["example"]())
    names["sync_example"]()
    say(samples=len(samples), to_file=len(to_file), **asyncio.run(look(names)))


async def look(names) -> dict:
    client = await names["get_redis_client"]()
    functions = [name for name in names if name.endswith(("_sender", "_reader", "_writer", "_scanner", "_poller"))]
    found = {
        "available": names["is_available"],
        "functions": sum(names[name] is not None for name in functions if not name.startswith("get_")),
        "participants": (await client.get_heartbeat(12345))["participants"],
        "pid": (await client.get_heartbeat(777) or {}).get("pid"),
        "identity": (await client.read_identity("room_url", "participant_id"))["name"],
        "identities": len(await client.scan_identities("room_url")),
        "messages": [message["message"] for message in await client.get_admin_messages(12345)],
    }
    heard = []
    if names["admin_poller"] is not None:
        loop = asyncio.create_task(names["admin_poller"](9, lambda message: heard.append(message["message"])))
        for number in range(3):
            names["admin_writer"](9, f"message {number}")
        ends = time.monotonic() + 10
        while len(heard) < 3 and time.monotonic() < ends:
            await asyncio.sleep(0.005)
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
    return {**found, "heard": sorted(heard)}


def say(**what) -> None:
    sys.stdout.write(json.dumps(what) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
