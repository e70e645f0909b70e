"""The ambient state: for code that expects a module-level getter, one `PollyState` for each event loop."""

from __future__ import annotations

import asyncio
from typing import Final
from weakref import WeakKeyDictionary

from polly_state.errors import StateError
from polly_state.state import PollyState

__all__ = ["Ambient"]


class Ambient:
    """A state that is started when it is first needed."""

    def __init__(self, state: PollyState | None = None) -> None:
        """Take a *state* that is entered elsewhere, or make one of the environment.

        Raises `ConfigurationError` for an environment that cannot be used.
        """
        self._own = state is None
        self.state = PollyState.from_env() if state is None else state
        self._starting: asyncio.Task[None] | None = None

    @classmethod
    def current(cls) -> Ambient:
        """That of the running event loop."""
        loop = asyncio.get_running_loop()
        held = AMBIENT.get(loop)
        if held is None:
            held = AMBIENT[loop] = cls()
        return held

    @classmethod
    def there(cls) -> Ambient | None:
        """That of the running event loop, if there is one."""
        return AMBIENT.get(asyncio.get_running_loop())

    def use(self) -> None:
        """Be that of the running event loop."""
        AMBIENT[asyncio.get_running_loop()] = self

    async def started(self) -> PollyState:
        """The state, ready for commands. Raises as `PollyState.start` does, and then the next who asks tries anew."""
        if self._own:
            if self._starting is None:
                self._starting = asyncio.create_task(self.state.start(), name="polly_state start")
            try:
                # Whoever gives up does not keep it from starting for the others.
                await asyncio.shield(self._starting)
            except StateError:
                self._forget()
                raise
        return self.state

    async def aclose(self) -> None:
        """Close a state that was made here; the next who asks gets a new one."""
        self._forget()
        if self._own and self._starting is not None:
            await self.state.aclose()

    def _forget(self) -> None:
        loop = asyncio.get_running_loop()
        if AMBIENT.get(loop) is self:
            del AMBIENT[loop]


#: The getters that this stands in for are module-level; an event loop is as far as a state reaches.
AMBIENT: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Ambient]] = WeakKeyDictionary()
