"""Entry point of ``python -m sai_core``."""

import sys

from sai_core.threads import limit_blas

limit_blas()  # before anything loads NumPy

from sai_core.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
