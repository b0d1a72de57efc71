"""The embedding model of a workspace, wherever it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding import open_embedder
from sibyl_runtime.providers.protocols import Embedder

if TYPE_CHECKING:
    from sibyl_runtime.workspace import EmbeddingProvider


async def open_embedding_model(name: str, provider: EmbeddingProvider) -> Embedder:
    """The model of `providers.embedding.<name>`, ready to answer. Raises StartupError, which names the field."""
    if provider.kind == "sentence-transformer":
        return await open_embedder(name, provider)
    if provider.kind == "openai":
        # Imported here: the client library and the price table take half a second that the local default saves.
        from sibyl_runtime.providers.embedding.remote import open_remote

        return await open_remote(name, provider)
    raise StartupError(
        f"providers.embedding.{name}.kind: {provider.kind} is not available in this version; available: "
        "sentence-transformer, openai"
    )
