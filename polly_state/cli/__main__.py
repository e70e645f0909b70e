"""`python -m polly_state.cli` is ``polly-state``."""

import sys

from polly_state.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
