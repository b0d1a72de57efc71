"""Which language models a step may ask, in order: the one that its settings choose, then those to fall back on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.providers.protocols import LanguageModel
from sibyl_runtime.techniques.providers import language_model
from sibyl_runtime.workspace import ChoiceFailed, ChoiceTemplate, GenerationConfig, is_template, written_values


def route(context: StepContext, config: GenerationConfig, query: str) -> list[LanguageModel]:
    """The models to ask, each once. Raises StepFailed for a name that is no provider."""
    names = [_chosen(context, config.provider, query), *config.fallback_providers]
    return [language_model(context, name) for name in dict.fromkeys(names)]


def _chosen(context: StepContext, provider: str | None, query: str) -> str:
    if provider is None:
        return context.services.default_language_model
    # A text that came with a call is a name, whatever it looks like: only the document's own templates are filled in.
    if not is_template(provider) or provider not in written_values(
        context.services.workspace, context.pipeline, context.step, "provider"
    ):
        return provider
    try:
        chosen = ChoiceTemplate.parse(provider).choose({"query": query, **_classified(context)})
    except ChoiceFailed as error:
        raise context.failed(
            f"has a `provider` template that cannot be evaluated: {error}; complexity and is_complex are there after a "
            "step infrastructure.query_classifier that ran"
        ) from error
    if chosen not in context.services.language_models:
        known = ", ".join(sorted(context.services.language_models))
        shown = f'"{chosen[:100]}"' if chosen else "nothing"
        raise context.failed(f"has a `provider` template that chose {shown}; it must choose one of: {known}")
    return chosen


def _classified(context: StepContext) -> Mapping[str, Any]:
    """What the nearest classifier before this step found; nothing when none ran."""
    for result in reversed(list(context.results.values())):
        if "complexity" in result and "is_complex" in result:
            return {"complexity": result["complexity"], "is_complex": result["is_complex"]}
    return {}
