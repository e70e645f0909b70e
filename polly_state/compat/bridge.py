"""The bridge: a `PollyState` in a thread of its own, for callers on any event loop or on none."""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from polly_state.errors import StateError
from polly_state.settings import Settings
from polly_state.state import PollyState

__all__ = ["Bridge"]

_log = logging.getLogger("polly_state")

T = TypeVar("T")

PATIENCE: Final = 5.0
"""Seconds that the end of the process waits for what is still to be written."""


class Bridge:
    """Starts on its own and ends with the process; calls from any thread are carried out in its event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="polly_state bridge"))
        self._thread = threading.Thread(target=self._loop.run_forever, name="polly_state bridge", daemon=True)
        self._thread.start()
        self._posted: set[Future[Any]] = set()
        self._starting = asyncio.run_coroutine_threadsafe(self._start(), self._loop)
        # Plain atexit comes too late: pools of threads, which close files, have ended then. This comes before theirs.
        getattr(threading, "_register_atexit", atexit.register)(self.close)

    async def run(self, work: Callable[[PollyState], Coroutine[Any, Any, T]]) -> T:
        """Do *work* over there, and wait for it here."""
        return await asyncio.wrap_future(self._submit(work))

    def wait(self, work: Callable[[PollyState], Coroutine[Any, Any, T]]) -> T:
        """Do *work*, and block until it is done: on an event loop that holds up everybody else."""
        return self._submit(work).result()

    def post(self, work: Callable[[PollyState], Coroutine[Any, Any, object]]) -> None:
        """Do *work*: on an event loop without waiting, and errors are logged; elsewhere as `wait` does."""
        future = self._submit(work)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            future.result()
            return
        self._posted.add(future)
        future.add_done_callback(self._posted_done)

    def close(self) -> None:
        """End it; what was posted is done first. May be called again."""
        if self._loop.is_closed():
            return
        try:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(PATIENCE)
        except TimeoutError:
            _log.warning("a bridge did not end within %g seconds", PATIENCE)
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def _submit(self, work: Callable[[PollyState], Coroutine[Any, Any, T]]) -> Future[T]:
        async def started() -> T:
            return await work(await asyncio.wrap_future(self._starting))

        return asyncio.run_coroutine_threadsafe(started(), self._loop)

    async def _start(self) -> PollyState:
        state = PollyState(self.settings)
        await state.start()
        return state

    async def _end(self) -> None:
        posted = [asyncio.wrap_future(future) for future in tuple(self._posted)]
        await asyncio.gather(*posted, return_exceptions=True)
        (state,) = await asyncio.gather(asyncio.wrap_future(self._starting), return_exceptions=True)
        if isinstance(state, PollyState):
            await state.aclose()

    def _posted_done(self, future: Future[Any]) -> None:
        self._posted.discard(future)
        error = None if future.cancelled() else future.exception()
        if error is not None:
            reason = str(error) if isinstance(error, StateError) else type(error).__name__
            _log.warning("what was sent without waiting was not done: %s", reason)
