"""The `KubeApi` on the official client's asynchronous transport.

Only its lowest level is used, with plain dicts: its models forbid unknown fields and add nulls, which server-side apply
would take for intent. This level does not raise on a refusal, so the status is mapped to our errors here.
"""

from __future__ import annotations

import asyncio
import json
import math
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from sibyl_operator.kube.api import FIELD_MANAGER, STATUS_MANAGER, Manifest
from sibyl_operator.kube.config import KubeconfigError
from sibyl_operator.kube.errors import (
    KubeError,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    error_from,
)
from sibyl_operator.kube.kinds import kind_of

APPLY = "application/apply-patch+yaml"
JSON = "application/json"
PAGE = 500
LONGEST_HOLD = 30.0


class KubeClient:
    """One pool of connections to the API server; use as an asynchronous context.

    `configure` yields a client configuration and is called again after a refused login. `timeout` is in seconds, for
    one request with its answer.
    """

    def __init__(
        self,
        configure: Callable[[], Awaitable[Any]],
        *,
        timeout: float = 30.0,
        connections: int = 32,
        reporting_instance: str = FIELD_MANAGER,
    ) -> None:
        self._configure = configure
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=min(10.0, timeout))
        self._connections = connections
        self._reporting_instance = reporting_instance
        self._client: Any = None
        self._opening = asyncio.Lock()
        self._held_until = 0.0

    async def __aenter__(self) -> Self:
        await self._opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        try:
            return await self._request("GET", kind_of(kind).path(namespace, name))
        except NotFound:
            return None

    async def list(
        self, kind: str, namespace: str | None, *, labels: Mapping[str, str] | None = None
    ) -> list[Manifest]:
        known = kind_of(kind)
        selector = ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items()))
        found: list[Manifest] = []
        following: str | None = ""
        while following is not None:
            query = {"limit": str(PAGE), "labelSelector": selector, "continue": following}
            page = await self._request("GET", known.path(namespace), query={k: v for k, v in query.items() if v})
            # Items of a list carry neither version nor kind.
            found += [{"apiVersion": known.api_version, "kind": known.name, **item} for item in page.get("items") or ()]
            following = page.get("metadata", {}).get("continue") or None
        return found

    async def apply(self, manifest: Manifest, *, field_manager: str = FIELD_MANAGER, force: bool = True) -> Manifest:
        metadata = manifest["metadata"]
        path = kind_of(manifest["kind"]).path(metadata["namespace"], metadata["name"])
        # Strict: a field that this API server does not know is an error, not something to lose in silence.
        query = {"fieldManager": field_manager, "force": str(force).lower(), "fieldValidation": "Strict"}
        return await self._request("PATCH", path, query=query, body=manifest, content_type=APPLY)

    async def create(self, manifest: Manifest) -> Manifest:
        path = kind_of(manifest["kind"]).path(manifest["metadata"]["namespace"])
        return await self._request("POST", path, query={"fieldManager": FIELD_MANAGER}, body=manifest)

    async def replace(self, manifest: Manifest) -> Manifest:
        metadata = manifest["metadata"]
        path = kind_of(manifest["kind"]).path(metadata["namespace"], metadata["name"])
        return await self._request("PUT", path, query={"fieldManager": FIELD_MANAGER}, body=manifest)

    async def patch_status(self, kind: str, namespace: str, name: str, status: Manifest) -> Manifest:
        known = kind_of(kind)
        body = {
            "apiVersion": known.api_version,
            "kind": known.name,
            "metadata": {"name": name, "namespace": namespace},
            "status": status,
        }
        query = {"fieldManager": STATUS_MANAGER, "force": "true"}
        return await self._request(
            "PATCH", known.path(namespace, name, "status"), query=query, body=body, content_type=APPLY
        )

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str) -> None:
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._request("DELETE", kind_of(kind).path(namespace, name), body=body)
        except NotFound:
            return

    async def create_event(self, involved: Manifest, *, type: str, reason: str, message: str) -> None:
        await self.create(event_manifest(involved, type, reason, message, self._reporting_instance, datetime.now(UTC)))

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = JSON,
    ) -> Manifest:
        await self._hold()
        try:
            client = await self._opened()
            parameters = await client.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params={"Accept": JSON, "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await client.call_api(*parameters, _request_timeout=self._timeout)
            raw = await response.read()
        except KubeconfigError as error:
            raise Unauthorized(401, str(error)) from error
        except TimeoutError as error:
            raise Unavailable(0, f"{method} {path}: no answer within {self._timeout.total:g} s") from error
        except (aiohttp.ClientError, ApiException, OSError) as error:
            raise Unavailable(0, f"{method} {path}: {error or type(error).__name__}") from error
        answer = _decoded(raw)
        if 200 <= response.status < 300:
            return answer
        raise await self._refusal(response.status, answer, _seconds(response.headers.get("Retry-After")))

    async def _refusal(self, status: int, answer: Manifest, retry_after: float | None) -> KubeError:
        error = error_from(status, answer, retry_after=retry_after)
        if isinstance(error, TooManyRequests):
            # The server sheds load for all of us, so everybody waits, not only the caller that was told.
            pause = min(retry_after or 1.0, LONGEST_HOLD)
            self._held_until = max(self._held_until, asyncio.get_running_loop().time() + pause)
        if isinstance(error, Unauthorized):
            await self._close()
        return error

    async def _hold(self) -> None:
        pause = self._held_until - asyncio.get_running_loop().time()
        if pause > 0:
            await asyncio.sleep(pause)

    async def _opened(self) -> Any:
        async with self._opening:
            if self._client is None:
                configuration = await self._configure()
                configuration.connection_pool_maxsize = self._connections
                # Reading certificates is file access.
                self._client = await asyncio.to_thread(ApiClient, configuration)
            return self._client

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def event_manifest(involved: Manifest, type: str, reason: str, message: str, instance: str, now: datetime) -> Manifest:
    """An Event of events.k8s.io/v1; `message` is cut to the 1024 bytes that the API allows."""
    metadata = involved["metadata"]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name'][:200]}.{uuid.uuid4().hex[:16]}", "namespace": metadata["namespace"]},
        "action": "Reconcile",
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "note": message.encode()[:1000].decode(errors="ignore"),
        "reason": reason[:128],
        "regarding": {
            "apiVersion": involved["apiVersion"],
            "kind": involved["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "reportingController": "sibyl.dev/operator",
        "reportingInstance": instance[:128],
        "type": type,
    }


def _decoded(raw: bytes) -> Manifest:
    """A body as a dict; proxies in front of an API server answer with text, which becomes the message."""
    try:
        answer = json.loads(raw) if raw else {}
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {"message": raw[:300].decode(errors="replace")}


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds; the API server never sends the date form, so that one counts as absent."""
    try:
        seconds = float(header) if header else None
    except ValueError:
        return None
    return seconds if seconds is not None and math.isfinite(seconds) and seconds >= 0 else None
