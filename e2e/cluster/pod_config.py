"""ConfigMaps, Secrets and tokens of one namespace, read from the API server when a container needs them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from e2e.cluster.kube_rest import ApiError, KubeRest, Object


class ApiConfigReader:
    """The ConfigReader of a namespace. Raises ApiUnreachableError, and ApiError for anything but "not found"."""

    def __init__(self, api: KubeRest, namespace: str) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}"

    def config_map(self, name: str) -> Mapping[str, bytes] | None:
        """The data and binaryData of a ConfigMap; None where it does not exist."""
        found = self._get(f"configmaps/{name}")
        if found is None:
            return None
        texts = {key: value.encode() for key, value in (found.get("data") or {}).items()}
        return texts | _decoded(found.get("binaryData"))

    def secret(self, name: str) -> Mapping[str, bytes] | None:
        """The decoded data of a Secret; None where it does not exist."""
        found = self._get(f"secrets/{name}")
        return None if found is None else _decoded(found.get("data"))

    def token(self, service_account: str, source: Mapping[str, Any]) -> str:
        """A new token for the ServiceAccount, for the audience and duration that the volume asks for."""
        spec = {
            "audiences": [source["audience"]] if source.get("audience") else [],
            "expirationSeconds": source.get("expirationSeconds", 3600),
        }
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = self._api.post(f"{self._path}/serviceaccounts/{service_account}/token", request)
        return str(answer["status"]["token"])

    def _get(self, path: str) -> Object | None:
        try:
            return self._api.get(f"{self._path}/{path}")
        except ApiError as error:
            if error.code == 404:
                return None
            raise


def _decoded(data: Mapping[str, str] | None) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (data or {}).items()}
