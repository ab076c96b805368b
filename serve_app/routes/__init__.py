"""The HTTP routes, a file for each subject. They parse, authorise and call; no logic."""
