"""The edge: HTTP in, HTTP out, and the commands that start it."""
