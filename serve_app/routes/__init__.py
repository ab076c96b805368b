"""The HTTP routes, one file per subject. They parse, authorise and call; no logic."""
