"""What encoding and decoding costs, by the size of a value, and what zstd saves of it; microseconds of one call.

Ours is the codec as caches use it: orjson, and zstd from 1 KiB on where it is smaller. Beside it stand orjson alone,
orjson with zstd at any size, and pickle. The values are lists of objects as an API of a chat service gives them.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import orjson
import zstandard

from benchmarks.run import Plan, Report
from polly_state.structures import Codec

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=5, seconds=0.02)
COUNTS = (1, 3, 6, 12, 50, 500)


def members(count: int) -> list[dict[str, Any]]:
    chance = random.Random(count)
    return [
        {
            "id": str(chance.randrange(1 << 62)),
            "username": f"member {number}",
            "avatar": f"{chance.randrange(1 << 128):032x}",
            "roles": [str(chance.randrange(1 << 62)) for _ in range(3)],
            "joined_at": "2025-03-01T12:00:00+00:00",
            "bot": False,
        }
        for number in range(count)
    ]


async def run(plan: Plan) -> Report:
    report = Report("codec")
    codec: Codec[Any] = Codec(object)
    pack, unpack = zstandard.ZstdCompressor(level=3).compress, zstandard.ZstdDecompressor().decompress
    ways: dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]] = {
        "ours": (codec.encode, codec.decode),
        "orjson": (orjson.dumps, orjson.loads),
        "orjson_zstd": (lambda value: pack(orjson.dumps(value)), lambda content: orjson.loads(unpack(content))),
        "pickle": (pickle.dumps, pickle.loads),
    }
    for count in COUNTS:
        value = members(count)
        for name, (encode, decode) in ways.items():
            content = encode(value)
            assert decode(content) == value
            report.rows.append(
                {
                    "contestant": name,
                    "json_bytes": len(orjson.dumps(value)),
                    "bytes": len(content),
                    "encode_us": _timed(plan, encode, value),
                    "decode_us": _timed(plan, decode, content),
                }
            )
    return report


def _timed(plan: Plan, function: Callable[[Any], Any], argument: Any) -> float:
    times = []
    for _ in range(plan.rounds):
        calls, began = 0, perf_counter()
        while (now := perf_counter()) < began + plan.seconds:
            function(argument)
            calls += 1
        times.append((now - began) / calls)
    return round(median(times) * 1e6, 2)
