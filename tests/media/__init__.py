"""Tests of the media path: packets, Opus, sessions between real peers, streams."""
