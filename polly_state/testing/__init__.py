"""What a bot is tested with: real servers, faults on demand, a clock to turn."""

from polly_state.testing.binaries import available
from polly_state.testing.clock import Clock
from polly_state.testing.proxy import FaultProxy
from polly_state.testing.server import Certificates, Server, ServerFailed

__all__ = ["Certificates", "Clock", "FaultProxy", "Server", "ServerFailed", "available"]
