"""A plain, synchronous HTTP client of the Kubernetes API: paths in, dictionaries out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from e2e.cluster.errors import ClusterError
from e2e.cluster.kubeconfig import Credentials, read_kubeconfig

Object = dict[str, Any]

STRATEGIC_MERGE = "application/strategic-merge-patch+json"


class ApiError(ClusterError):
    """The API server answered with an error. `code` is the HTTP status, `reason` the API's own word."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message


class ApiUnreachableError(ClusterError):
    """No answer came from the API server."""


class KubeRest:
    """One connection pool to one API server. Safe to use from several threads."""

    def __init__(self, credentials: Credentials, *, user_agent: str = "testcluster", timeout: float = 10.0) -> None:
        headers = {"User-Agent": user_agent}
        if credentials.token:
            headers["Authorization"] = f"Bearer {credentials.token}"
        self.server = credentials.server
        # The proxy settings of the environment are not for a cluster on loopback.
        self._client = httpx.Client(
            base_url=credentials.server,
            verify=credentials.ssl_context(),
            headers=headers,
            timeout=timeout,
            trust_env=False,
        )

    @classmethod
    def from_kubeconfig(cls, path: Path, *, user_agent: str = "testcluster") -> KubeRest:
        """A client for the current context of a kubeconfig."""
        return cls(read_kubeconfig(path), user_agent=user_agent)

    def __enter__(self) -> KubeRest:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Object:
        """GET an object or a list. Raises ApiError, ApiUnreachableError."""
        return self._json("GET", path, params=params)

    def get_text(self, path: str) -> str:
        """GET an endpoint that answers in plain text, such as /readyz."""
        return self._send("GET", path).text

    def post(self, path: str, body: Object) -> Object:
        """POST an object."""
        return self._json("POST", path, body=body)

    def patch(self, path: str, body: Object, content_type: str = STRATEGIC_MERGE) -> Object:
        """PATCH an object."""
        return self._json("PATCH", path, body=body, content_type=content_type)

    def delete(self, path: str, body: Object | None = None) -> Object:
        """DELETE an object; `body` holds DeleteOptions."""
        return self._json("DELETE", path, body=body)

    def _json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        answer = self._send(method, path, params=params, body=body, content_type=content_type)
        found: Object = answer.json()
        return found

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> httpx.Response:
        content = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type} if content else None
        try:
            answer = self._client.request(method, path, params=params, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise ApiUnreachableError(f"{method} {self.server}{path}: {error or type(error).__name__}") from error
        if answer.status_code >= 400:
            raise _api_error(answer)
        return answer


def _api_error(answer: httpx.Response) -> ApiError:
    try:
        status = answer.json()
    except ValueError:
        return ApiError(answer.status_code, answer.reason_phrase, answer.text[:500])
    if not isinstance(status, dict):
        return ApiError(answer.status_code, answer.reason_phrase, str(status)[:500])
    return ApiError(answer.status_code, status.get("reason") or "Unknown", status.get("message") or "")
