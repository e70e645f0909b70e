"""The command line: ``polly-state``, to see, check and fill what a bot keeps."""

from polly_state.cli.commands import main

__all__ = ["main"]
