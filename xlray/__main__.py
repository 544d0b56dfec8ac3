"""`python -m xlray` and the command `xlray`: signals are taken before anything that takes long is imported."""

from __future__ import annotations

import sys

from xlray import signals
from xlray.errors import INTERRUPTED


def main() -> int:
    """Entry point: runs one command of the command line and returns its exit code; see `xlray.cli.main.main`."""
    try:
        signals.catch()
        from xlray.cli.main import main as run_command

        code = run_command()
    except KeyboardInterrupt:  # before a command had begun, or after its end
        print(f"xlray: {signals.message()}", file=sys.stderr)
        code = INTERRUPTED
    signals.finish(code)  # returns only where no signal was taken
    return code


if __name__ == "__main__":
    sys.exit(main())
