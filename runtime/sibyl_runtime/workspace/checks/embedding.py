"""Checks of embedding: what a step sets must mean something to the model that it uses."""

from __future__ import annotations

from collections.abc import Iterator

from sibyl_runtime.workspace.checks.context import Context, Finding
from sibyl_runtime.workspace.errors import Location
from sibyl_runtime.workspace.meaning import layers

_OF_A_LOCAL_MODEL = {
    "workers": "the model runs on another machine; set max_concurrent for several requests at once",
    "clear_cache_after_batch": "the model runs on another machine, and nothing of it is held here",
}


def vectors_of_their_own_length_have_effect(context: Context) -> Iterator[Finding]:
    """The cosine of two vectors is the same whatever their length."""
    name, provider = context.workspace.default_embedding
    store, settings = context.workspace.default_vector_store
    if not provider.normalize and settings.distance_metric == "cosine":
        yield Finding(
            ("providers", "embedding", name, "normalize"),
            f"false has no effect with distance_metric cosine of providers.vector_store.{store}, which does not look "
            "at the length of vectors; remove it, or set distance_metric: dot_product or euclidean",
        )


def embedding_settings_have_effect(context: Context) -> Iterator[Finding]:
    """Processes and memory are those of a model that runs here."""
    name, provider = context.workspace.default_embedding
    if provider.kind != "openai":
        return
    found: set[Location] = set()
    for used in context.steps():
        if used.spec is None or used.spec.id != "rag.embedding":
            continue
        for layer in layers(context.workspace, used.pipeline, used.step, used.spec):
            for key in sorted(_OF_A_LOCAL_MODEL.keys() & layer.config.keys()):
                at = context.as_written((*layer.at, key))
                if at not in found:
                    found.add(at)
                    reason = _OF_A_LOCAL_MODEL[key]
                    yield Finding(at, f"has no effect with kind openai of providers.embedding.{name}: {reason}")
