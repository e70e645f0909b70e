"""Recovery: probes a Redis in doubt until both circuits are closed again."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from polly_state.connection.breaker import CircuitState, Happening
from polly_state.connection.canary import Canary
from polly_state.connection.circuits import Circuits
from polly_state.connection.refusals import Concern, concern_of, translated
from polly_state.connection.replies import ReplyError
from polly_state.errors import ConfigurationError, StoreUnavailable
from polly_state.retry import until_done
from polly_state.settings import BreakerSettings

__all__ = ["Recovery"]

_log = logging.getLogger("polly_state")


class Recovery:
    """One task, and only while something is wrong: a healthy Redis is not asked."""

    def __init__(
        self, circuits: Circuits, canary: Canary, settings: BreakerSettings, reconnect: Callable[[], Awaitable[None]]
    ) -> None:
        self._circuits = circuits
        self._canary = canary
        self._settings = settings
        self._reconnect = reconnect
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def begin(self) -> None:
        """Start probing, unless that is under way or there is nothing to probe."""
        if self._closed or self._circuits.settled or (self._task is not None and not self._task.done()):
            return
        self._task = asyncio.create_task(self._run(), name="polly_state canary")
        self._task.add_done_callback(self._done)

    async def aclose(self) -> None:
        """Stop probing for good."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        if task.exception() is not None:
            _log.error("probing Redis ended with a fault of its own", exc_info=task.exception())
        self.begin()

    async def _run(self) -> None:
        await asyncio.sleep(self._jittered(self._settings.probe_delay))
        await until_done(self._probe, expected=(StoreUnavailable, ConfigurationError), delay=self._delay)

    def _delay(self, failures: int) -> float:
        if self._circuits.fault is not None:
            return self._settings.probe_delay_misconfigured
        return self._jittered(min(self._settings.probe_delay * 2.0**failures, self._settings.probe_delay_cap))

    def _jittered(self, delay: float) -> float:
        return delay * random.uniform(0.8, 1.2)

    async def _probe(self) -> None:
        circuits = self._circuits
        both = (circuits.link, circuits.write)
        for circuit in both:
            circuit.happen(Happening.PROBE_STARTED)
        try:
            refusal = await self._canary.probe()
            # The canary has a connection of its own: that it may write says nothing of a shared one to a replica.
            if circuits.link.state is CircuitState.PROBING or (circuits.demoted and refusal is None):
                await self._reconnect()
        except BaseException as error:
            # A cancelled probe has found nothing out; either way no circuit is left half open.
            for circuit in both:
                circuit.happen(Happening.PROBE_FAILED, str(error))
            self._take_note(error)
            raise
        self._settle_write(refusal)

    def _take_note(self, error: BaseException) -> None:
        if isinstance(error, ConfigurationError):
            self._circuits.found(error)
        elif isinstance(error, StoreUnavailable) and self._circuits.fault is not None:
            self._circuits.fault = None
            self._circuits.changed(self._circuits.link)

    def _settle_write(self, refusal: ReplyError | None) -> None:
        write = self._circuits.write
        if refusal is None or concern_of(refusal) is Concern.COMMAND:
            if write.happen(Happening.PROBE_SUCCEEDED, "Redis answers"):
                self._circuits.changed(write)
            return
        error = translated(refusal)
        self._circuits.refuse_writes(str(error))
        write.happen(Happening.PROBE_FAILED, str(error))
        raise error
