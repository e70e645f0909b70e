"""What it costs to tell with every answer where it comes from: one typed get, through less and less.

ours       The handle's `get`.
read       The handle's `read`, which hands the labels to the caller.
unwatched  The handle over the resilient store itself, without the observed store that counts and times.
link       The same `GET` over the same connection, decoded to the same type: no store, no labels.
answer     Nothing but to make an `Answer` and to take the value out of it again.

All of them in one process, over one connection, for a value of 10 fields, by one task and by fifty, in
short turns. `cpu_us` is what a call costs this process; `over_link_us` how much more than over the
link, the median over the rounds. Ratios are theirs to ours; "labels/answer" is the promised 3 us
through what an answer costs by itself, "labels/whole@50" through all that stands between handle and link.
"""

from __future__ import annotations

import timeit
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from benchmarks.contestants import OURS
from benchmarks.run import MICRO, Plan, Report, Window, measured, new_server, paired, row, turns
from benchmarks.values import IDS, profile
from polly_state import PollyState, Settings
from polly_state.store.base import from_redis
from polly_state.structures import Binding, Family, Values
from polly_state.structures.codec import Codec

__all__ = ["PLAN", "run"]

PLAN = Plan(rounds=40, seconds=0.05)
SIZE = 10
TASKS = (1, 50)
PROMISED_US = 3.0
NAMESPACE = "labels"
MADE = 100_000


async def run(plan: Plan) -> Report:
    report = Report("labels")
    async with new_server() as server, PollyState(Settings.from_url(server.url, namespace=NAMESPACE)) as state:
        gets = await _gets(state)
        for tasks in TASKS:
            await _measure(report, gets, tasks, plan)
    best = min(timeit.repeat(lambda: from_redis(None)[0], number=MADE, repeat=plan.rounds)) / MADE * MICRO
    report.rows.append({"contestant": "answer", "op": "make", "tasks": 1, "cpu_us": round(best, 3)})
    report.ratios["labels/answer@1"] = round(PROMISED_US / best, 2)
    return report


async def _gets(state: PollyState) -> dict[str, Callable[[str], Awaitable[Any]]]:
    value = profile(SIZE)
    declared = type(value)
    handle = state.map("profiles", declared)
    for user in IDS:
        await handle.set(user, value)
    family = Family(NAMESPACE, "profiles")
    stack = state._stack
    bound = Binding(stack._resilient, family, None, state.settings.bounds.value_bytes)
    unwatched = Values(bound, declared)
    send, decode = stack._connection.send, Codec(declared, max_bytes=bound.max_value_bytes).decode

    async def over_link(user: str) -> Any:
        content = await send(("GET", family.key(user)))
        return None if content is None else decode(content)

    gets = {OURS: handle.get, "read": handle.read, "unwatched": unwatched.get, "link": over_link}
    for name, get in gets.items():
        found = await get(IDS[0])
        assert (found.value if name == "read" else found) == value
    return gets


async def _measure(report: Report, gets: dict[str, Callable[[str], Awaitable[Any]]], tasks: int, plan: Plan) -> None:
    windows: dict[str, list[Window]] = {name: [] for name in gets}
    for get in gets.values():
        await measured(get, (), tasks, plan.seconds)
    for name in turns(gets, plan.rounds):
        windows[name].append(await measured(gets[name], (), tasks, plan.seconds))
    cpu = {name: [window.cpu_per_call for window in found] for name, found in windows.items()}
    for name, found in windows.items():
        more = [ours - link for ours, link in zip(cpu[name], cpu["link"], strict=True)]
        report.rows.append(row(name, "get", tasks, found, fields=SIZE, over_link_us=round(median(more) * MICRO, 2)))
        if name != OURS:
            report.ratios[f"cpu/{name}@{tasks}"] = paired(cpu[name], cpu[OURS])
    whole = median(ours - link for ours, link in zip(cpu[OURS], cpu["link"], strict=True)) * MICRO
    report.ratios[f"labels/whole@{tasks}"] = round(PROMISED_US / whole, 2)
