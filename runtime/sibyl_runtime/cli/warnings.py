"""Tells at the start of a server what its document should be told, without refusing it."""

from __future__ import annotations

import logging

from sibyl_runtime.workspace import SourceDocument, Workspace, notices

logger = logging.getLogger("sibyl.workspace")


def log_notices(workspace: Workspace, source: SourceDocument) -> None:
    """One line of the log for each; `sibyl workspace validate` and GET /config tell the same."""
    for notice in notices(workspace, source.raw, source.lines):
        logger.warning("%s", notice)
