"""Checks of providers: each name that a step gives exists, and a step that gives none has a clear default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sibyl_runtime.workspace.checks.context import Context, Finding, UsedStep
from sibyl_runtime.workspace.document import Workspace
from sibyl_runtime.workspace.errors import suggestion
from sibyl_runtime.workspace.providers import DEFAULT_NAMES
from sibyl_runtime.workspace.references import EnvironmentText
from sibyl_runtime.workspace.techniques import canonical_use
from sibyl_runtime.workspace.templates import is_template

PROVIDER_KINDS: Mapping[str, str] = {
    "rag.embedding": "embedding",
    "rag.retrieval": "vector_store",
    "data.store_vectors": "vector_store",
    "ai_generation.generation": "llm",
    "rag.reranking": "llm",
    "rag.query_processing": "llm",
}


def named_providers(workspace: Workspace, kind: str) -> Mapping[str, object]:
    """The providers of one kind by name."""
    providers = workspace.providers
    kinds: Mapping[str, Mapping[str, object]] = {
        "llm": providers.llm,
        "embedding": providers.embedding,
        "vector_store": providers.vector_store.named,
    }
    return kinds[kind]


def written_provider(context: Context, used: UsedStep) -> tuple[object, tuple[str | int, ...]]:
    """The provider that a step's settings name, None when they do not, and the place."""
    shop = context.workspace.shops.get(used.spec.shop) if used.spec is not None else None
    if "provider" not in used.step.config and shop is not None and used.spec is not None:
        for written, config in shop.techniques.items():
            if canonical_use(f"{used.spec.shop}.{written}") == used.spec.id and "provider" in config:
                return config["provider"], (*context.shop_at(used.spec.shop), "techniques", written, "provider")
    return used.step.config.get("provider"), (*used.at, "config", "provider")


def named_providers_exist(context: Context) -> Iterator[Finding]:
    """A provider that a step names must be in the document."""
    for used in context.steps():
        kind = PROVIDER_KINDS.get(used.step.use)
        name, at = written_provider(context, used)
        if kind is None or not isinstance(name, str) or "${" in name or is_template(name):
            continue
        known = named_providers(context.workspace, kind) or {"default": None}
        if name not in known:
            shown = f"the value of {name.reference}" if isinstance(name, EnvironmentText) else f'"{name}"'
            yield Finding(at, f"no provider in providers.{kind} is called {shown}{suggestion(name, known)}")


def default_llm_is_clear(context: Context) -> Iterator[Finding]:
    """With several language models, none of them the default by name, each step must say which it means."""
    names = context.workspace.providers.llm
    if len(names) < 2 or any(name in names for name in DEFAULT_NAMES):
        return
    for used in context.steps():
        # A step that reranks asks a language model with one subtechnique only; it has a check of its own.
        asks = PROVIDER_KINDS.get(used.step.use) == "llm" and used.step.use != "rag.reranking"
        if asks and written_provider(context, used)[0] is None:
            yield Finding(
                ("providers", "llm"),
                f'holds {", ".join(sorted(names))}, and step "{used.step.name}" of pipeline "{used.pipeline}" names '
                "none; call one of them default, or give the step a provider",
            )
