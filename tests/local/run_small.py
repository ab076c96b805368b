"""Run hushcast with an application of tests: `python -m tests.local.run_small BUILDER up ...`."""

import sys

from commands import cli

if __name__ == "__main__":
    cli.BUILDER = f"tests.local.small_app:{sys.argv[1]}"
    sys.exit(cli.main(sys.argv[2:]))
