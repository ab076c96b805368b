"""Recordings: spools on disk, objects in S3, the index in Redis."""
