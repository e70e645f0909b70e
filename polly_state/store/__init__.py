"""Where commands are carried out; stores wrap one another."""

from polly_state.store.base import Ack, Answer, Origin, Store
from polly_state.store.local import LocalStore
from polly_state.store.observed import ObservedStore, OperationStatistics

__all__ = ["Ack", "Answer", "LocalStore", "ObservedStore", "OperationStatistics", "Origin", "Store"]
