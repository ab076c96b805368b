"""Errors of the object store."""


class StoreUnavailable(Exception):
    """The object store does not answer, or refuses our request.

    Attributes:
        reason: what the store does, for the sentence "The object storage ...": it names no host,
            no bucket and no key, so anybody may read it.
        code: S3's code for a refusal, such as `AccessDenied`; empty if it gave none.
        refused: whether it answered.
    """

    def __init__(
        self,
        told: str,
        *,
        reason: str = "cannot be used",
        code: str = "",
        refused: bool = False,
    ) -> None:
        super().__init__(told)
        self.reason = reason
        self.code = code
        self.refused = refused


class ObjectMissing(Exception):
    """There is no object, or no upload, under this key."""


class RangeNotSatisfiable(Exception):
    """The byte range lies outside an object of `size_bytes` (RFC 9110, 416)."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the recording has {size_bytes} bytes")
        self.size_bytes = size_bytes
