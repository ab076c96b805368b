"""How Ray knows our actors."""

NAMESPACE = "hushcast"
"""Of all of them."""
STREAM_PREFIX = "hushcast-stream-"
"""What the names of stream actors begin with."""
