"""The cache service: values that can be computed again, loaded once for all who ask, and never given when invalid."""

from polly_state.cache.decorator import CachedFunction
from polly_state.cache.dictionaries import train_dictionary
from polly_state.cache.family import Cache
from polly_state.cache.looks import Cached
from polly_state.cache.service import CacheHealth, CacheService
from polly_state.cache.statistics import CacheStatistics

__all__ = ["Cache", "CacheHealth", "CacheService", "CacheStatistics", "Cached", "CachedFunction", "train_dictionary"]
