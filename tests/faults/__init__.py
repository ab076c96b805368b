"""Real servers and processes fail while somebody is live."""
