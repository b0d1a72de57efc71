"""The images that pods get where a workspace names none; a cluster without the public registries names its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sibyl_operator import __version__

PUBLIC_RUNTIME: Final = f"sibyl-runtime:{__version__}"
PUBLIC_DATABASE: Final = "docker.io/pgvector/pgvector:pg18"
PUBLIC_CACHE: Final = "docker.io/library/redis:8-alpine"


@dataclass(frozen=True)
class DefaultImages:
    """Settings of the operator, the same for all of its workspaces."""

    runtime: str = PUBLIC_RUNTIME
    database: str = PUBLIC_DATABASE
    cache: str = PUBLIC_CACHE
