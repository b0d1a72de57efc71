"""Joins the embedded database of a `sibyl serve` that is running over the same data directory.

The server that started the embedded PostgreSQL owns it. A command beside it, such as `sibyl ingest`, is one more client
of the socket that the owner's lock file names, and leaves the server running when it ends. `sibyl serve` itself never
joins: the database would vanish under it when the other command ends.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

from sibyl_runtime.settings import Settings
from sibyl_runtime.store.embedded import running_socket_dsn
from sibyl_runtime.workspace import SourceDocument, parse_workspace


def joined(source: SourceDocument, settings: Settings, environ: Mapping[str, str]) -> SourceDocument:
    """`source`, pointed at the embedded PostgreSQL that runs in the data directory; unchanged where none runs.

    Raises WorkspaceInvalid, as the runtime would.
    """
    workspace = parse_workspace(source.raw, source=source.source, lines=source.lines, environ=environ)
    name, store = workspace.default_vector_store
    if store.dsn is not None or (dsn := running_socket_dsn(settings.postgres_directory)) is None:
        return source
    raw = copy.deepcopy(source.raw)
    stores = raw.setdefault("providers", {}).setdefault("vector_store", {})
    stores.setdefault(name, {})["dsn"] = dsn
    return replace(source, raw=raw)
