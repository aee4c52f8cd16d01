"""`python -m core`: see `cli`."""

import sys

try:
    from .cli import main

    sys.exit(main())
except KeyboardInterrupt:  # before there was anything to clean up
    sys.exit(130)
