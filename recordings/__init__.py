"""What is kept: spools on disk, recordings in object storage, their index in Redis."""
