"""Run `hushcast up` with the small application: `python -m tests.local.run_small up ...`."""

import sys

from serve_app import cli

if __name__ == "__main__":
    cli.BUILDER = "tests.local.small_app:build"
    sys.exit(cli.main())
