"""The schema of `spec.workspace`: the workspace document, as far as a CRD can say it.

Where the dialect is fixed the document is typed, so that `kubectl explain` knows it and a wrong key is refused at once.
Where it is free (settings of steps, shops and techniques, parameters of tools; `on_error`, a word or true) the schema
lets everything through and the operator's own validation answers in condition ConfigValid. The document keeps no
defaults: it is stored word for word. Fields and values that are not available in this version are left out.
"""

from __future__ import annotations

from typing import Any, Final

from sibyl_operator.api.base import VALIDATIONS, Rule
from sibyl_operator.api.schema import PRESERVE, Bounds, Conventions, Schema, structural_schema
from sibyl_runtime.workspace import PLANNED, PLANNED_VALUES, Workspace

BOUNDS: Final = Bounds(text=32_768, items=256, entries=128)
CONVENTIONS: Final = Conventions(
    defaults=False, floats=True, fallback=BOUNDS, hidden=PLANNED, hidden_values=PLANNED_VALUES
)
USE_OR_GROUP: Final = Rule(
    cel="has(self.use) != has(self.parallel)",
    message="a step needs use, the technique, or parallel, a group of steps, and not both",
    check=None,
)
"""The document's own models say which of the two is missing or in the way."""
EMBEDDING_KIND_ALIASES: Final = ("sentence_transformer", "sentence-transformers")


def document_schema() -> Schema:
    """The structural schema of the whole document."""
    return structural_schema(Workspace, CONVENTIONS, _as_written)


def _as_written(models: dict[str, Any]) -> None:
    """Where a model holds its part of the document in another form than the document does, say what is written."""
    models["VectorStores"] = {
        "type": "object",
        "additionalProperties": {"$ref": "#/$defs/VectorStoreProvider"},
    }
    models["VectorStoreProvider"]["properties"]["url"] = _text("The same as dsn.")
    models["EmbeddingProvider"]["properties"]["kind"]["enum"].extend(EMBEDDING_KIND_ALIASES)
    models["Logging"]["properties"]["level"] = _text("Least level that is logged: debug, info, warning or error.")
    models["Step"][VALIDATIONS] = [USE_OR_GROUP.validation()]
    models["GroupedStep"]["required"] = ["use"]
    for model in ("Pipeline", "Tool"):
        parameters = models[model]["properties"]["parameters"]
        models[model]["properties"]["parameters"] = _free_map(parameters["description"])


def _text(description: str) -> Schema:
    return {"type": "string", "maxLength": 1024, "description": description}


def _free_map(description: str) -> Schema:
    return {"type": "object", PRESERVE: True, "description": description}
