"""What can go wrong between the operator and the API server, by what the caller should do about it.

`transient` tells a retry with backoff from an error that only a change of some object can cure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

UNKNOWN_FIELD: Final = "failed to create typed patch object"


class KubeError(Exception):
    """The API server refused a request or could not be asked. `status` is 0 when no answer came."""

    transient: ClassVar[bool] = False

    def __init__(self, status: int, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        """Seconds that the server asked to wait, if it did."""


class NotFound(KubeError):
    """404: neither the object nor, for a missing CRD, its kind."""


class AlreadyExists(KubeError):
    """409 on create: the name is taken."""


class Conflict(KubeError):
    """409, or 422 for a uid: another writer was faster, owns the field, or the uid is that of another object."""

    transient = True


class Invalid(KubeError):
    """400, 413 or 422: the object itself is wrong; `causes` are pairs of field and message."""

    def __init__(self, status: int, message: str, *, causes: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(status, message)
        self.causes = causes


class Forbidden(KubeError):
    """403: missing RBAC, a quota, an admission policy or a namespace that is being deleted."""


class Unauthorized(KubeError):
    """401: the credentials were not accepted; they may have been rotated."""

    transient = True


class TooManyRequests(KubeError):
    """429: the API server sheds load."""

    transient = True


class Unavailable(KubeError):
    """5xx, 410, a timeout or no connection."""

    transient = True


def error_from(status: int, body: Mapping[str, Any], *, retry_after: float | None = None) -> KubeError:
    """The error for a response: by HTTP status, and by `reason` where one status means two things."""
    message = str(body.get("message") or f"the API server answered HTTP {status}")
    causes = _causes(body)
    if status == 409:
        return (AlreadyExists if body.get("reason") == "AlreadyExists" else Conflict)(status, message)
    if status == 422 and any(field == "metadata.uid" for field, _ in causes):
        # How server-side apply puts it when the object under that name is not the one that was meant.
        return Conflict(status, message)
    # Server-side apply answers 500 to a field that the schema does not have, and trying again would not help.
    if status in (400, 413, 422) or UNKNOWN_FIELD in message:
        return Invalid(status, message, causes=causes)
    if status >= 500 or status == 410:
        return Unavailable(status, message, retry_after=retry_after)
    kinds: dict[int, type[KubeError]] = {
        401: Unauthorized,
        403: Forbidden,
        404: NotFound,
        408: Unavailable,
        429: TooManyRequests,
    }
    return kinds.get(status, KubeError)(status, message, retry_after=retry_after)


def _causes(body: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    details = body.get("details") or {}
    return tuple((str(cause.get("field", "")), str(cause.get("message", ""))) for cause in details.get("causes") or ())
