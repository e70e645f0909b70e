"""Watch: what is at a key, and again whenever it is something else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Final, TypeVar

from polly_state.commands import Command, TimeToLive
from polly_state.errors import StateUnavailable, StoreUnavailable
from polly_state.store import Store
from polly_state.store.channels import Channels, Topic

__all__ = ["watch"]

C = TypeVar("C")
T = TypeVar("T")

#: Seconds between looks while Redis does not tell of changes, which in an outage ask nobody.
DEAF: Final = 0.5
#: Redis ends what has a ttl at its next millisecond.
AFTER: Final = 0.002


async def watch(
    store: Store, channels: Channels, command: Command[C], decode: Callable[[C], T]
) -> AsyncGenerator[T, None]:
    """What *command*, which reads, gives, *decode*d; then each newer answer, until the loop is left.

    Redis tells of changes only that there was one, so that what is overwritten before it was read is left out, and the
    last is not. It is read again whenever a change may have been missed, and before it is given out twice.
    """
    last: tuple[C] | None = None
    with channels.waking(Topic(command.key, key=True)) as wake:
        while True:
            wake.clear()
            left = None
            try:
                answer = (await store.execute(command)).value
                with suppress(StateUnavailable):
                    left = (await store.execute(TimeToLive(command.key))).value
            except (StoreUnavailable, StateUnavailable):
                # Nobody knows: neither a value nor that there is none.
                await wake.wait(DEAF, deaf=DEAF)
                continue
            if last is None or answer != last[0]:
                last = (answer,)
                yield decode(answer)
            await wake.wait(None if left is None else left + AFTER, deaf=DEAF)
