"""What the routes under /documents take and answer, as tool parameters: one place for the check and for OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sibyl_runtime.errors import InvalidParameters
from sibyl_runtime.pipeline.engine import invalid_arguments
from sibyl_runtime.runtime import IngestReport
from sibyl_runtime.server import catalogue
from sibyl_runtime.store.records import IdRange
from sibyl_runtime.techniques.receive_documents import GivenDocument, GivenDocuments
from sibyl_runtime.workspace import ArgumentsInvalid, Tool, ToolParameter, validate_arguments

MOST_DOCUMENTS = 1000
LONGEST_NAME = 1000
DEFAULT_PIPELINE = "ingest"


def _name(description: str, *, required: bool = False) -> ToolParameter:
    return ToolParameter(type="string", minLength=1, maxLength=LONGEST_NAME, required=required, description=description)


_SOURCE = _name("Name of the set that the documents belong to.", required=True)
_DOCUMENT = ToolParameter(
    type="object",
    description="One document.",
    properties={
        "id": _name("Its name within the source, such as a path.", required=True),
        "text": ToolParameter(type="string", required=True, description="What it says."),
        "title": ToolParameter(type="string", description="Its title."),
        "metadata": ToolParameter(type="object", description="What questions may filter by: names and values."),
        "format": ToolParameter(
            type="string", enum=["markdown", "text"], description="markdown (default): headings and code are structure."
        ),
    },
)
STORE = Tool(
    name="store_documents",
    description="Store documents: new and changed ones are embedded, unchanged ones cost nothing.",
    pipeline=DEFAULT_PIPELINE,
    parameters={
        "source": _SOURCE,
        "documents": ToolParameter(
            type="array", required=True, minItems=1, maxItems=MOST_DOCUMENTS, items=_DOCUMENT,
            description="The documents; those of the source that are not among them stay as they are.",
        ),
        "pipeline": ToolParameter(
            type="string", default=DEFAULT_PIPELINE, description="The pipeline that cuts, embeds and stores."
        ),
    },
)  # fmt: skip
PRUNE = Tool(
    name="prune_documents",
    description="Remove the documents of a source that it no longer has.",
    pipeline=DEFAULT_PIPELINE,
    parameters={
        "source": _SOURCE,
        "keep": ToolParameter(
            type="array", required=True, items=ToolParameter(type="string"),
            description="Ids of the documents that stay; an empty list removes all.",
        ),
        "after": _name("Look only at ids above this one, by code points."),
        "through": _name("Look only at ids up to and with this one, by code points."),
    },
)  # fmt: skip

_REPORT: dict[str, Any] = {
    "type": "object",
    "required": ["documents", "chunks", "unchanged", "replaced", "removed", "seconds", "skipped", "copies"],
    "properties": {
        "documents": {"type": "integer", "description": "Stored, new and changed."},
        "chunks": {"type": "integer", "description": "Stored with them."},
        "unchanged": {"type": "integer"},
        "replaced": {
            "type": "integer",
            "description": "Of the documents stored, those that took a former one's place.",
        },
        "removed": {"type": "integer"},
        "seconds": {"type": "number"},
        "copies": {
            "type": "object",
            "additionalProperties": {"type": "integer"},
            "description": "By other source, the documents that it holds too, word for word.",
        },
        "skipped": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "reason"],
                "properties": {"id": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
    },
}
_EXAMPLES: Mapping[str, dict[str, Any]] = {
    STORE.name: {
        "source": "handbook",
        "documents": [{"id": "leave.md", "title": "Leave", "text": "# Leave\n\nAsk two weeks ahead."}],
    },
    PRUNE.name: {"source": "handbook", "keep": ["leave.md"]},
}


def given_documents(body: Mapping[str, Any]) -> tuple[GivenDocuments, str]:
    """The documents of a request, and the pipeline that is to store them. Raises InvalidParameters."""
    checked = _checked(STORE, body)
    _refuse_nul({"source": checked["source"]})
    documents = [
        GivenDocument(
            id=document["id"],
            text=document["text"],
            title=document.get("title", ""),
            metadata=document.get("metadata", {}),
            format=document.get("format", "markdown"),
        )
        for document in checked["documents"]
    ]
    return GivenDocuments(checked["source"], documents), checked["pipeline"]


def given_prune(body: Mapping[str, Any]) -> tuple[str, list[str], IdRange]:
    """Source, ids to keep, and the range of ids to look at. Raises InvalidParameters."""
    checked = _checked(PRUNE, body)
    within = IdRange(checked.get("after"), checked.get("through"))
    names = {"source": checked["source"], "after": within.after, "through": within.through}
    _refuse_nul(names | {f"keep[{index}]": id_ for index, id_ in enumerate(checked["keep"])})
    return checked["source"], checked["keep"], within


def shown(report: IngestReport) -> dict[str, Any]:
    """The answer to a request."""
    skipped = [{"id": skipped.path, "reason": skipped.reason} for skipped in report.skipped]
    return {**vars(report), "skipped": skipped}


def operations(paths: Mapping[str, Tool]) -> dict[str, Any]:
    """OpenAPI paths of the routes: a POST at each of `paths`."""
    failure = {"description": "Error", "content": {"application/json": {"schema": catalogue.ERROR_SCHEMA}}}
    return {
        path: {
            "post": {
                "summary": tool.description,
                "operationId": tool.name,
                "tags": ["documents"],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": catalogue.input_schema(tool), "example": _EXAMPLES[tool.name]}
                    },
                },
                "responses": {
                    "200": {"description": "Done", "content": {"application/json": {"schema": _REPORT}}},
                    "4XX": failure,
                    "5XX": failure,
                },
            }
        }
        for path, tool in paths.items()
    }


def _refuse_nul(names: Mapping[str, str | None]) -> None:
    """PostgreSQL has no such text: it would fail there, and look like a fault of the database."""
    for name, value in names.items():
        if value is not None and "\x00" in value:
            raise InvalidParameters(f"{name}: must not hold the character NUL; no stored name does")


def _checked(tool: Tool, body: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return validate_arguments(tool, body)
    except ArgumentsInvalid as error:
        raise invalid_arguments(error) from error
