"""`hushcast load`: real publishers and listeners against a running instance, measured."""
