"""What a runtime is made of, in the words of the line that it starts with: read from the open parts."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from sibyl_runtime.errors import SibylError
from sibyl_runtime.pipeline.context import Services

_BACKENDS = {"onnx": "onnxruntime", "torch": "sentence-transformers"}


@runtime_checkable
class TellsVersions(Protocol):
    """A store that knows what it runs on."""

    @property
    def embedded(self) -> bool:
        """True when the server is a child of this process."""

    async def versions(self) -> dict[str, str]:
        """{"postgresql": "18.1", "pgvector": "0.8.5"}."""


@runtime_checkable
class TellsIndex(Protocol):
    """A store that knows its vector index."""

    async def index_state(self) -> Any:
        """Kind, rows, parameters, size."""


@runtime_checkable
class PreparesSearch(Protocol):
    """A store whose first search would otherwise wait for something to be read."""

    async def prepare_search(self) -> None:
        """Read it now."""


async def describe(services: Services) -> tuple[str, str, str]:
    """Database, embedding model and answers, each in a few words."""
    return await _store(services), _embedder(services), _answers(services)


async def _store(services: Services) -> str:
    embedded = services.workspace.default_vector_store[1].dsn is None
    place = " (embedded)" if embedded else ""
    if not isinstance(services.store, TellsVersions):
        return f"PostgreSQL + pgvector{place}"
    searched = " + FAISS" if services.workspace.default_vector_store[1].kind == "faiss" else ""
    try:
        versions = await services.store.versions()
    except SibylError:
        return f"PostgreSQL + pgvector{searched}{place}"
    return f"PostgreSQL {versions['postgresql']} + pgvector {versions['pgvector']}{searched}{place}"


def _embedder(services: Services) -> str:
    """A tag reads `model@digest/precision/pooling/length`, that of a model elsewhere `model@host/dimension`."""
    model, _, rest = services.embedder.tag.partition("@")
    if services.workspace.default_embedding[1].kind == "openai":
        return f"{model} at {rest.partition('/')[0]}"
    precision = rest.split("/")[1] if "/" in rest else ""
    backend = _BACKENDS[services.workspace.default_embedding[1].backend]
    return " ".join(word for word in (model, precision, "on", backend) if word)


def _answers(services: Services) -> str:
    provider = services.workspace.default_llm[1]
    return "extractive answers" if provider.kind == "extractive" else f"answers by {provider.model}"
