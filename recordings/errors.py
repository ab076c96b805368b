"""Errors of the object store."""


class StoreUnavailable(Exception):
    """The object store does not answer, or refuses our request."""


class ObjectMissing(Exception):
    """There is no object, or no upload, under this key."""


class RangeNotSatisfiable(Exception):
    """The byte range lies outside an object of `size_bytes` (RFC 9110, 416)."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the recording has {size_bytes} bytes")
        self.size_bytes = size_bytes
