"""Read the API server's audit log: who asked for what, so that a test counts writes instead of trusting a promise."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

AuditEvent = dict[str, Any]

WRITE_VERBS = frozenset({"create", "update", "patch", "delete", "deletecollection"})

# One event per finished request, without bodies. Health checks would only drown what tests look for.
POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    nonResourceURLs: ["/readyz*", "/livez*", "/healthz*", "/version", "/openapi/*"]
  - level: Metadata
"""


def read_events(log: Path, start: int = 0) -> Iterator[AuditEvent]:
    """The events of an audit log from byte `start` on; a line that is still being written is left out."""
    with log.open("rb") as lines:
        lines.seek(start)
        for line in lines:
            if line.endswith(b"\n"):
                yield json.loads(line)


def user_of(event: AuditEvent) -> str:
    """Who made the request, for example `system:serviceaccount:default:operator`."""
    return str(event.get("user", {}).get("username", ""))


def writes(events: Iterable[AuditEvent], *, user: str) -> list[AuditEvent]:
    """The requests of `user` that change something, refused ones included."""
    return [event for event in events if event.get("verb") in WRITE_VERBS and user_of(event) == user]


def describe(event: AuditEvent) -> str:
    """One line for a failure message: `patch deployments/status demo/web -> 200`."""
    target = event.get("objectRef", {})
    resource = "/".join(filter(None, (target.get("resource", "?"), target.get("subresource"))))
    name = "/".join(filter(None, (target.get("namespace"), target.get("name"))))
    return f"{event.get('verb')} {resource} {name} -> {event.get('responseStatus', {}).get('code')}"
