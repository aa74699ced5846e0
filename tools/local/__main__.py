"""`python -m tools.local run|demo`: what `make run` and `make demo` call."""

import sys

# Worker processes import this module again, and need none of it.
if __name__ == "__main__":
    from tools.local.run import main

    sys.exit(main())
