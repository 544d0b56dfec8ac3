"""`python -m xlray`."""

import sys

from xlray.cli import main

if __name__ == "__main__":
    sys.exit(main())
