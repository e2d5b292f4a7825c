"""What a client is told when a request cannot be answered."""

from __future__ import annotations


class Failure(Exception):
    """An HTTP status and a message: TensorFlow Serving's, in its words where it has some."""

    def __init__(
        self, status: int, message: str, *, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.retry_after_seconds = retry_after_seconds


def bad_request(message: str) -> Failure:
    """400: the request can never be answered as it is."""
    return Failure(400, message)


def not_found(message: str) -> Failure:
    """404: no such model or version."""
    return Failure(404, message)
