"""Where an address points to, without what opens it: host and port of a URL, or of a PostgreSQL DSN in either form."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from psycopg import Error, conninfo

from sibyl_operator.observed import Endpoint

POSTGRES_PORT: Final = 5432
PORTS: Final = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}


def endpoints(text: str) -> tuple[Endpoint, ...]:
    """The servers that `text` names: several for a DSN with several hosts, none for text that is no address."""
    scheme, separator, _ = text.partition("://")
    found = _of_url(text) if separator and scheme in PORTS else _of_dsn(text)
    return tuple(endpoint for endpoint in found if not endpoint.host.startswith(("/", "@")))


def _of_url(text: str) -> tuple[Endpoint, ...]:
    try:
        parts = urlsplit(text.strip())
        port = parts.port or PORTS[parts.scheme]
    except ValueError:
        return ()
    return (Endpoint(parts.hostname, port),) if parts.hostname else ()


def _of_dsn(text: str) -> tuple[Endpoint, ...]:
    try:
        parts = conninfo.conninfo_to_dict(text.strip())
    except Error:
        return ()
    hosts = [host for host in str(parts.get("hostaddr") or parts.get("host") or "").split(",") if host]
    ports = str(parts.get("port") or POSTGRES_PORT).split(",")
    # One port stands for all hosts; an empty one for the default.
    spread = ports * len(hosts) if len(ports) == 1 else ports
    try:
        return tuple(Endpoint(host, int(port or POSTGRES_PORT)) for host, port in zip(hosts, spread, strict=True))
    except ValueError:
        return ()
