"""Which providers of the document a technique may be given by name: one answer for the checks and for each run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sibyl_runtime.workspace.document import Workspace
from sibyl_runtime.workspace.errors import found

PROVIDER_KINDS: Mapping[str, str] = {
    "rag.embedding": "embedding",
    "rag.retrieval": "vector_store",
    "data.store_vectors": "vector_store",
    "ai_generation.generation": "llm",
    "rag.reranking": "llm",
    "rag.query_processing": "llm",
}

WRITES: Final = frozenset({"rag.query_processing"})
"""Techniques that need a language model that writes, which the extractive one does not."""


def named_providers(workspace: Workspace, kind: str) -> Mapping[str, object]:
    """The providers of one kind by name."""
    providers = workspace.providers
    kinds: Mapping[str, Mapping[str, object]] = {
        "llm": providers.llm,
        "embedding": providers.embedding,
        "vector_store": providers.vector_store.named,
    }
    return kinds[kind]


def usable_providers(workspace: Workspace, technique: str, *, structured: bool = False) -> list[str]:
    """The names that a step of `technique` may be given, sorted; `structured`: its answers fit a schema."""
    kind = PROVIDER_KINDS[technique]
    if kind != "llm":
        return sorted(named_providers(workspace, kind)) or ["default"]
    default_name, default = workspace.default_llm
    known = workspace.providers.llm or {default_name: default}
    if technique in WRITES or structured:
        return sorted(name for name, provider in known.items() if provider.kind != "extractive")
    return sorted(known)


def provider_fault(workspace: Workspace, technique: str, name: str, *, structured: bool = False) -> str | None:
    """What is wrong with `name` as the provider of a step of `technique`; None when it can be used."""
    kind, usable = PROVIDER_KINDS[technique], usable_providers(workspace, technique, structured=structured)
    if name in usable:
        return None
    if name in named_providers(workspace, kind):
        return f'"{name}" is extractive, which only quotes, and a model that writes is needed; known: ' + (
            ", ".join(usable) or "none; add one of kind openai to providers.llm"
        )
    return f"no provider in providers.{kind} is called {found(name)}; known: {', '.join(usable)}"
