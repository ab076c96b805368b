"""Tests of the edge in this process: real Valkey and S3, and streams that are made up."""
