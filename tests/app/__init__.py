"""Tests of the whole product: `hushcast up` on real servers, real peers, a real browser."""
