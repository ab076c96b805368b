"""Tests of the ingress in this process: real Valkey and S3, and streams that are made up."""
