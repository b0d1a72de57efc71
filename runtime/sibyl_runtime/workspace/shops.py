"""The `shops` section: settings that all pipelines share, by group of techniques."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sibyl_runtime.workspace.base import StrictModel

SHOP_ALIASES = {
    "rag_pipeline": "rag",
    "data_integration": "data",
    "workflow_orchestration": "workflow",
}


def canonical_shop(name: str) -> str:
    """The canonical id of a shop: `rag-pipeline` and `rag_pipeline` are `rag`."""
    spelling = name.replace("-", "_")
    return SHOP_ALIASES.get(spelling, spelling)


class Shop(StrictModel):
    """Settings shared by the techniques of one shop. A step's own `config` wins over both maps."""

    enabled: bool = Field(True, description="False: no pipeline may use this shop.")
    config: dict[str, Any] = Field({}, description="Settings for every technique of the shop that knows them.")
    techniques: dict[str, dict[str, Any]] = Field({}, description="Settings by technique; they win over config.")
