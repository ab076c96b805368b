"""Tests of hushcast: real servers, real peers, real sound."""
