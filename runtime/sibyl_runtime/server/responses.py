"""The documented shapes of answers: JSON by orjson, errors as {error: {code, message, details}, request_id}."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from sibyl_runtime.errors import NotFound, RateLimited, SibylError
from sibyl_runtime.server.request import facts_of

# 503 and 429 always tell when to come back, also where the cause does not know.
RETRY_AFTER_SECONDS = 1.0


class MalformedBody(SibylError):
    """The body is not a JSON object."""

    status = 400
    code = "invalid_parameters"


class UnsupportedMediaType(SibylError):
    """The body is not declared as JSON."""

    status = 415
    code = "unsupported_media_type"


class MethodNotAllowed(SibylError):
    """The path exists, but not for this method."""

    status = 405
    code = "method_not_allowed"


class ValidationFailed(SibylError):
    """A query parameter does not fit; the documented code of the framework's own validation."""

    status = 400
    code = "validation_error"


class HttpError(SibylError):
    """Any other error of the framework, under its own status."""

    code = "http_error"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.http_status = status


class JSON(Response):
    """A JSON answer."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """`content` as UTF-8 JSON."""
        return orjson.dumps(content)


def error_response(scope: Scope, error: SibylError, headers: Mapping[str, str] | None = None) -> Response:
    """`error` in the documented shape, with Retry-After where coming back can help."""
    status = error.http_status if isinstance(error, HttpError) else error.status
    sent = dict(headers or {})
    retry_after = error.retry_after
    if retry_after is None and status in (429, 503):
        retry_after = RETRY_AFTER_SECONDS
    if retry_after is not None:
        sent["Retry-After"] = str(max(1, math.ceil(retry_after)))
    if isinstance(error, RateLimited):
        sent |= rate_headers(error)
    return JSON(error_body(scope, error), status_code=status, headers=sent)


def rate_headers(error: RateLimited) -> dict[str, str]:
    """What is told of the bucket that is empty: how much it holds, and in how many seconds it is full."""
    told = {"X-RateLimit-Limit": error.details.get("burst"), "X-RateLimit-Reset": error.details.get("full_after")}
    return {"X-RateLimit-Remaining": "0", **{name: str(value) for name, value in told.items() if value is not None}}


def error_body(scope: Scope, error: SibylError) -> dict[str, Any]:
    """The documented JSON of `error`."""
    return {
        "error": {"code": error.code, "message": error.message, "details": error.details},
        "request_id": facts_of(scope).id,
    }


async def on_sibyl_error(request: Request, error: Exception) -> Response:
    """A deliberate error."""
    assert isinstance(error, SibylError)
    return error_response(request.scope, error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """The framework's own 404, 405 and the like."""
    assert isinstance(error, HTTPException)
    method, path = request.method, request.url.path
    translated: SibylError
    if error.status_code == 404:
        translated = NotFound(f"There is nothing at {path}. Tools are listed at /mcp/tools.")
    elif error.status_code == 405:
        allowed = _allowed_methods(request)
        translated = MethodNotAllowed(f"{method} is not available at {path}; use {' or '.join(allowed)}.")
        return error_response(request.scope, translated, {"Allow": ", ".join(allowed)})
    else:
        translated = HttpError(str(error.detail), error.status_code)
    return error_response(request.scope, translated, error.headers)


def _allowed_methods(request: Request) -> list[str]:
    """Of all routes of the path: the framework names those of the first one only."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in matching for method in route.methods or ()} - {"HEAD"})


async def on_validation_error(request: Request, error: Exception) -> Response:
    """Query parameters that the framework refused."""
    assert isinstance(error, RequestValidationError)
    problems = {".".join(str(part) for part in problem["loc"][1:]): problem["msg"] for problem in error.errors()}
    message = "; ".join(f"{name}: {text}" for name, text in problems.items())
    return error_response(request.scope, ValidationFailed(message, details=problems))


async def on_unexpected(request: Request, error: Exception) -> Response:
    """A fault of ours: the client gets the id under which the log has the cause, and nothing else."""
    return error_response(request.scope, unexpected(request.scope))


def unexpected(scope: Scope) -> SibylError:
    """What a client is told of such a fault."""
    return SibylError(f"The server failed; its log names the cause under request id {facts_of(scope).id}.")
