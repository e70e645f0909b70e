"""The demo: a small bot at work while its Redis is frozen, killed and brought back."""

from polly_state.demo.report import Report
from polly_state.demo.screen import PlainScreen, Screen, SilentScreen, screen_for
from polly_state.demo.story import run

__all__ = ["PlainScreen", "Report", "Screen", "SilentScreen", "run", "screen_for"]
