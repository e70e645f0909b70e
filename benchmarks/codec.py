"""What encoding and decoding costs, by the size of a value, and what zstd saves of it; microseconds of one call.

Ours is the codec as caches use it: orjson, and zstd from 1 KiB on where it is smaller. Beside it stand orjson alone,
orjson with zstd at any size, and pickle. The values are lists of objects as an API of a chat service gives them.

`dictionary` is apart from that: values of 200 bytes to 2 KiB, one by one, as entries of a family that has a dictionary
of 4 KiB, made of the other half of them; beside it the same without one. "members" are made up, "examples" the
different objects of an API's documentation, where those are at hand, and the others one of these each, with ids and
digests of its own. Figures are those of one entry.
"""

from __future__ import annotations

import json
import pickle
import random
import re
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import orjson
import zstandard

from benchmarks.run import Plan, Report
from polly_state.cache import train_dictionary
from polly_state.cache.dictionaries import Dictionary
from polly_state.cache.entries import Entry, EntryCodec
from polly_state.structures import Codec

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=5, seconds=0.02)
COUNTS = (1, 3, 6, 12, 50, 500)
EXAMPLES = Path(__file__).parents[2] / "shared" / "data" / "discord_objects.json"
OWN = re.compile(r"\d{17,20}|[0-9a-f]{32}")
SIMILAR, RANGE = 400, (200, 2048)


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
    for kind, values in kinds().items():
        _note(report, plan, kind, values[::2], values[1::2])
    return report


def kinds() -> dict[str, list[Any]]:
    """Values of similar kinds, by what they are."""
    found: dict[str, list[Any]] = {"members": members(SIMILAR)}
    if EXAMPLES.exists():
        examples: dict[str, Any] = json.loads(EXAMPLES.read_text())
        least, most = RANGE
        found["examples"] = [each for each in examples.values() if least <= len(orjson.dumps(each)) <= most]
        random.Random(0).shuffle(found["examples"])
        for name in (
            "guild#Example Guild",
            "user#Example User",
            "message#Example Message",
            "voice#Example Voice State",
        ):
            text = json.dumps(examples[f"resources/{name}"])
            found[name.rpartition(" ")[2].lower()] = [_other(text, number) for number in range(SIMILAR)]
    return found


def _other(text: str, number: int) -> Any:
    chance = random.Random(number)
    return json.loads(OWN.sub(lambda own: "".join(chance.choices("123456789", k=len(own[0]))), text))


def _note(report: Report, plan: Plan, kind: str, training: list[Any], values: list[Any]) -> None:
    plain, packed = (
        EntryCodec[Any](object, 1 << 20, 0, each) for each in (None, Dictionary(train_dictionary(training)))
    )
    entries = [Entry(value, 0.0, 0.0, False, b"- -", 0.0, 0.0) for value in values]  # noqa: FBT003
    for name, codec in (("ours", plain), ("dictionary", packed)):
        contents = [codec.encode(each) for each in entries]
        assert [codec.decode(each).value for each in contents] == values
        report.rows.append(
            {
                "contestant": f"{name} ({kind})",
                "json_bytes": round(sum(len(orjson.dumps(each)) for each in values) / len(values)),
                "bytes": round(sum(map(len, contents)) / len(values)),
                "encode_us": _timed(plan, lambda each: [*map(codec.encode, each)], entries, len(values)),  # noqa: B023
                "decode_us": _timed(plan, lambda each: [*map(codec.decode, each)], contents, len(values)),  # noqa: B023
            }
        )


def _timed(plan: Plan, function: Callable[[Any], Any], argument: Any, many: int = 1) -> float:
    times = []
    for _ in range(plan.rounds):
        calls, began = 0, perf_counter()
        while (now := perf_counter()) < began + plan.seconds:
            function(argument)
            calls += 1
        times.append((now - began) / calls / many)
    return round(median(times) * 1e6, 2)
