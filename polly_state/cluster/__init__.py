"""A Redis Cluster: a connection manager for each of its masters, and what carries each command to the right one."""

from polly_state.cluster.cluster import Cluster
from polly_state.cluster.topology import Audience

__all__ = ["Audience", "Cluster"]
