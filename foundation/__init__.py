"""The ground every layer stands on: ids, tasks, Redis, leases. Knows nothing of streams."""
