"""The embedded parts of `hushcast up`: Valkey, SeaweedFS and Ray; started, watched, stopped."""
