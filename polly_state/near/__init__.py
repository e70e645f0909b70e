"""The near cache: what was read from Redis lately, kept in process, and told by Redis when it is no longer so."""

from polly_state.near.cache import NearCache, NearStatistics
from polly_state.near.protocol import MISSING, Near, Ticket

__all__ = ["MISSING", "Near", "NearCache", "NearStatistics", "Ticket"]
