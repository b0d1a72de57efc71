"""Where the API server is and how to log in: the pod's service account, or a kubeconfig file.

Both the client and the watcher take their credentials from here, so they can never talk to different clusters.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import SERVICE_HOST_ENV_NAME, load_incluster_config
from kubernetes.aio.config.kube_config import load_kube_config

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class KubeconfigError(Exception):
    """No usable way to an API server was found."""


@dataclass(frozen=True)
class Credentials:
    """The parts of a configuration that an HTTP client needs; `scheme` and `token` make the Authorization header."""

    server: str
    ca_path: str | None
    insecure: bool
    certificate_path: str | None
    private_key_path: str | None
    scheme: str | None
    token: str | None
    proxy_url: str | None

    def __repr__(self) -> str:
        return f"Credentials(server={self.server!r})"


async def load_configuration(kubeconfig: str | None = None) -> Any:
    """Read the configuration anew: an explicit file, else $KUBECONFIG, else the service account, else ~/.kube/config.

    Raises KubeconfigError. Touches files, and may run a credential plugin: meant for start-up and for a refused login.
    """
    configuration = Configuration()
    path = kubeconfig or os.environ.get("KUBECONFIG")
    try:
        if not path and os.environ.get(SERVICE_HOST_ENV_NAME):
            load_incluster_config(client_configuration=configuration)
            return configuration
        await load_kube_config(config_file=_existing(path), client_configuration=configuration, persist_config=False)
    except (ConfigException, OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        # The last four: the client's reader takes the shape of the file for granted.
        raise KubeconfigError(f"cannot read the API server's address and credentials: {error}") from error
    return configuration


def _existing(path: str | None) -> str:
    """The kubeconfig path, of which at least one file exists: the client itself would only log that none does."""
    path = path or str(Path.home() / ".kube" / "config")
    if not any(Path(part).expanduser().is_file() for part in path.split(os.pathsep) if part):
        raise KubeconfigError(
            f"no API server to talk to: kubeconfig {path} does not exist, and this is not a pod. "
            "Set KUBECONFIG, or pass --kubeconfig."
        )
    return path


async def credentials(configuration: Any) -> Credentials:
    """The login data of a configuration, for the watcher."""
    header = (await configuration.get_api_key_with_prefix("BearerToken") or "").strip()
    scheme, _, token = header.rpartition(" ")
    return Credentials(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        scheme=scheme or None,
        token=token or None,
        proxy_url=configuration.proxy,
    )


def own_namespace() -> str | None:
    """The namespace of the pod that this process runs in; None outside a cluster."""
    path = SERVICE_ACCOUNT / "namespace"
    return path.read_text(encoding="utf-8").strip() or None if path.is_file() else None
