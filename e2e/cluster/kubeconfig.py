"""Kubeconfig files: write one, and read back what a plain HTTP client needs of one."""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster.certificates import KeyPair
from e2e.cluster.errors import ClusterError


@dataclass(frozen=True)
class Credentials:
    """Where an API server is and as whom to speak to it. Certificates and keys are PEM; empty means none."""

    server: str
    authority: bytes = b""
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)
    token: str = field(default="", repr=False)
    namespace: str = "default"

    @classmethod
    def of_key_pair(cls, server: str, authority: KeyPair, client: KeyPair) -> Credentials:
        """Credentials of a client certificate."""
        return cls(
            server=server,
            authority=authority.certificate.read_bytes(),
            certificate=client.certificate.read_bytes(),
            key=client.key.read_bytes(),
        )

    def ssl_context(self) -> ssl.SSLContext:
        """A context that trusts this cluster alone and shows the client certificate, if there is one."""
        context = ssl.create_default_context(cadata=self.authority.decode() or None)
        if self.certificate:
            # The ssl module reads client certificates from files only.
            with tempfile.NamedTemporaryFile(suffix=".pem") as both:
                both.write(self.certificate + b"\n" + self.key)
                both.flush()
                context.load_cert_chain(both.name)
        return context


def write_kubeconfig(path: Path, credentials: Credentials) -> Path:
    """Write a self-contained kubeconfig that only its owner can read, and return its path."""
    cluster: dict[str, Any] = {"server": credentials.server}
    user: dict[str, Any] = {}
    if credentials.authority:
        cluster["certificate-authority-data"] = _encode(credentials.authority)
    if credentials.certificate:
        user = {
            "client-certificate-data": _encode(credentials.certificate),
            "client-key-data": _encode(credentials.key),
        }
    if credentials.token:
        user = {"token": credentials.token}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testcluster", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [
            {
                "name": "testcluster",
                "context": {"cluster": "testcluster", "user": "user", "namespace": credentials.namespace},
            }
        ],
        "current-context": "testcluster",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def read_kubeconfig(path: Path) -> Credentials:
    """The credentials of the current context.

    Understood: client certificates and tokens written into the file (`kubectl config view --raw --flatten`).
    Raises ClusterError for an exec plugin or an auth provider, naming it.
    """
    document = yaml.safe_load(path.read_text())
    context = _named(document, "contexts", document.get("current-context"), path)["context"]
    cluster = _named(document, "clusters", context.get("cluster"), path)["cluster"]
    user = _named(document, "users", context.get("user"), path)["user"] or {}
    refused = sorted({"exec", "auth-provider", "username", "tokenFile"} & set(user))
    if refused:
        raise ClusterError(
            f"{path}: user {context['user']!r} signs in by {refused[0]!r}; allowed here: a client certificate or a "
            "token in the file. Make one with `kubectl create token` or use the test cluster's own control plane."
        )
    return Credentials(
        server=cluster["server"],
        authority=_data(cluster, "certificate-authority"),
        certificate=_data(user, "client-certificate"),
        key=_data(user, "client-key"),
        token=user.get("token", ""),
        namespace=context.get("namespace") or "default",
    )


def _named(document: Mapping[str, Any], section: str, name: object, path: Path) -> Mapping[str, Any]:
    for entry in document.get(section) or ():
        if entry.get("name") == name:
            found: Mapping[str, Any] = entry
            return found
    raise ClusterError(f"{path}: {section} has no entry named {name!r}")


def _data(section: Mapping[str, Any], key: str) -> bytes:
    if f"{key}-data" in section:
        return base64.b64decode(section[f"{key}-data"])
    return Path(section[key]).read_bytes() if key in section else b""


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode()
