"""What a client is told when a request cannot be answered."""

from __future__ import annotations

CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Failure(Exception):
    """An HTTP status and a message: TensorFlow Serving's, in its words where it has some."""

    def __init__(
        self, status: int, message: str, *, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.retry_after_seconds = retry_after_seconds

    @property
    def code(self) -> str:
        """The status by TensorFlow's and gRPC's name."""
        return CODES.get(self.status, "UNKNOWN")


def bad_request(message: str) -> Failure:
    """400: the request can never be answered as it is."""
    return Failure(400, message)


def not_found(message: str) -> Failure:
    """404: no such model or version."""
    return Failure(404, message)


# By gRPC's numbers, which TensorFlow's errors carry.
HTTP_BY_NUMBER = {1: 499, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400}
HTTP_BY_NUMBER |= {12: 501, 14: 503, 16: 401}


def of(error: Exception) -> Failure:
    """What a client is told of a model's own failure: 500, or as TensorFlow classes it."""
    if isinstance(error, Failure):
        return error
    status = HTTP_BY_NUMBER.get(getattr(error, "error_code", None) or 0, 500)
    return Failure(status, f"{type(error).__name__}: {error}"[:2000])
