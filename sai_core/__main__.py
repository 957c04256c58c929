"""Entry point of ``python -m sai_core``."""

import sys

from sai_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
