"""Refusals in the form of the API: an HTTP status and a ``google.rpc.Status`` body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_RPC_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

# What becomes of a code of google.rpc.Code that is not the name of an HTTP status above.
_HTTP_STATUS = {
    1: 499,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    14: 503,
    16: 401,
}


class ApiError(Exception):
    """A call that is refused. The reply is made from the attributes.

    :param status: HTTP status, repeated as ``error.code``.
    :param message: text for the reader of the client's log.
    :param details: ``google.rpc`` detail objects.
    """

    def __init__(self, status: int, message: str, details: Sequence[Mapping[str, object]] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details or ()

    def body(self) -> dict[str, object]:
        """Return the reply as JSON values."""
        return error_body(self.status, self.message, self.details)


def error_body(
    status: int, message: str, details: Sequence[Mapping[str, object]] | None = None, rpc_status: str | None = None
) -> dict[str, object]:
    """Build ``{"error": {...}}``. The name of the code follows from the HTTP status unless given."""
    error: dict[str, object] = {
        "code": status,
        "message": message,
        "status": rpc_status or _RPC_NAMES.get(status, "UNKNOWN"),
    }
    if details:
        error["details"] = details
    return {"error": error}


def http_status(code: object) -> int:
    """Return the HTTP status of a ``google.rpc.Code``: 500 for those that say no more, and for what is none."""
    return _HTTP_STATUS.get(code, 500) if isinstance(code, int) else 500


def retry_info(delay_s: float) -> dict[str, object]:
    """Return the detail that names a wait, as a protobuf duration (``31s``, ``0.5s``)."""
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{delay_s:g}s"}


def invalid_api_key() -> ApiError:
    """Return the refusal of a key that the API does not know: 400, not 401."""
    return ApiError(400, "API key not valid. Please pass a valid API key.", [_error_info("API_KEY_INVALID")])


def missing_api_key() -> ApiError:
    """Return the refusal of a call without any credential."""
    return ApiError(
        403,
        "Method doesn't allow unregistered callers (callers without established identity). "
        "Please use API Key or other form of API consumer identity to call this API.",
    )


def invalid_token() -> ApiError:
    """Return the refusal of an OAuth token."""
    return ApiError(
        401,
        "Request had invalid authentication credentials. Expected OAuth 2 access token.",
        [_error_info("ACCESS_TOKEN_INVALID")],
    )


def file_not_visible(file_id: str) -> ApiError:
    """Return the one answer for a file that is missing, expired or of another project."""
    return ApiError(403, f"You do not have permission to access the File {file_id} or it may not exist.")


def not_found(message: str = "Requested entity was not found.") -> ApiError:
    """Return a plain 404."""
    return ApiError(404, message)


def invalid(message: str, details: Sequence[Mapping[str, object]] | None = None) -> ApiError:
    """Return a plain 400."""
    return ApiError(400, message, details)


def _error_info(reason: str) -> dict[str, object]:
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    }
