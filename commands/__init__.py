"""The `hushcast` command: one module or package for each subcommand."""
