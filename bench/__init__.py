"""Benchmarks: what `docs/benchmarks.md` says, measured."""
