"""What an attacker tries, and what must not come of it."""
