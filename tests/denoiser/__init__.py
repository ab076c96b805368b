"""Tests of the numbers: streaming equals the official program, whatever the input."""
