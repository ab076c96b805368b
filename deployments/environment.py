"""What the processes that Ray starts for us need in their environment."""

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    # A process has some 36 threads: with an arena for each of them glibc gives little back. What is
    # large, such as the parts of recordings (5 MiB) or what a password's hash takes (19 MiB), is
    # mapped and unmapped instead of making holes in the heap.
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
}
RUNTIME_ENV = {"env_vars": ENVIRONMENT}
"""The same, as options of actors, for nodes whose Ray does not have it."""
