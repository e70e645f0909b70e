"""What the families of a cache share."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from polly_state.cache.dictionaries import Dictionary
from polly_state.cache.entries import EntryCodec
from polly_state.cache.flights import Flights
from polly_state.cache.markers import Markers
from polly_state.events import Observer
from polly_state.store import Store
from polly_state.store.channels import Channels

if TYPE_CHECKING:
    from polly_state.near import Near  # noqa: TC004 - nobody resolves this annotation

__all__ = ["Shared"]


@dataclass(slots=True, kw_only=True)
class Shared:
    """The parts behind all families of one namespace."""

    namespace: str
    store: Store
    markers: Markers
    observe: Observer
    max_value_bytes: int
    near: Near | None = None
    flights: Flights = field(default_factory=Flights)
    channels: Channels = field(default_factory=Channels)
    codecs: dict[Any, EntryCodec[Any]] = field(default_factory=dict[Any, EntryCodec[Any]])
    random: Callable[[], float] = random.random
    liveness: float = 2.0
    """Seconds after which a load is taken over whose process is gone."""
    early_room: int = 16
    """How many more loads may run in the background before they are due."""

    def codec(self, declared: Any, dictionary: bytes | None = None) -> EntryCodec[Any]:
        """The codec of one declared type, with a *dictionary* or without.

        Raises `TypeError` for a type that cannot be stored, and `ValueError` for what is no dictionary.
        """
        held = self.codecs.get((declared, dictionary))
        if held is None:
            packer = None if dictionary is None else Dictionary(dictionary)
            held = EntryCodec(declared, self.max_value_bytes, len(self.codecs), packer)
            self.codecs[declared, dictionary] = held
        return held
