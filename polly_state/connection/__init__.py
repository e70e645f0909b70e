"""The one way to Redis: dialling, a link that all tasks share, a breaker, a canary, and the manager over them."""

from polly_state.connection.manager import ConnectionManager
from polly_state.connection.refusals import REDIRECTIONS
from polly_state.connection.replies import ReplyError
from polly_state.connection.statistics import ConnectionStatistics

__all__ = ["REDIRECTIONS", "ConnectionManager", "ConnectionStatistics", "ReplyError"]
