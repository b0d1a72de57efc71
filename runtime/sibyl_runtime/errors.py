"""Every error that the runtime raises on purpose, with the HTTP status and code under which a client sees it.

The message is for the reader who must act: it names what was found, what is allowed and what to do. It never
holds a secret: no DSN with its password, no API key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class SibylError(Exception):
    """Base of the tree. `details` is shown to clients; `retry_after` is in seconds."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(
        self, message: str, *, details: Mapping[str, Any] | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = dict(details or {})
        self.retry_after = retry_after


class StartupError(SibylError):
    """The runtime cannot start as configured: a missing variable, a model that is not there, a wrong dimension."""


class InvalidParameters(SibylError):
    """The request's parameters do not fit the tool."""

    status = 400
    code = "invalid_parameters"


class Unauthorized(SibylError):
    """No API key or token, or one that is not accepted."""

    status = 401
    code = "unauthorized"


class Forbidden(SibylError):
    """The caller is known, and may not do this."""

    status = 403
    code = "forbidden"


class RateLimited(SibylError):
    """The caller asks too often: try again after `retry_after` seconds."""

    status = 429
    code = "rate_limit_exceeded"


class NotFound(SibylError):
    """No such tool or pipeline."""

    status = 404
    code = "not_found"


class RequestTooLarge(SibylError):
    """The body is above `mcp.max_request_size`."""

    status = 413
    code = "request_too_large"


class StepFailed(SibylError):
    """A pipeline step could not do its work; `details` names pipeline and step."""

    status = 500
    code = "tool_execution_error"


class ProviderError(SibylError):
    """A model provider refused or failed; `details` names provider, model and its status."""

    status = 502
    code = "provider_error"


class Overloaded(SibylError):
    """A bounded queue or pool is full: try again after `retry_after` seconds."""

    status = 503
    code = "overloaded"


class DatabaseUnavailable(SibylError):
    """PostgreSQL cannot be reached, or refuses."""

    status = 503
    code = "database_unavailable"


class CacheUnreachable(SibylError):
    """A level of the caches is down. Answers still come, at full cost."""

    status = 503
    code = "cache_unavailable"


class DeadlineExceeded(SibylError):
    """The request's deadline passed; `details` names the stage that was running."""

    status = 504
    code = "deadline_exceeded"


class IngestError(SibylError):
    """A document or a source cannot be ingested: undecodable, too large, empty."""

    status = 400
    code = "ingest_error"
