"""What every layer stands on: ids, tasks, Redis, leases. Knows nothing of hushcast's subject."""
