"""Which of the configured providers a step may name."""

from __future__ import annotations

from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.providers.protocols import LanguageModel


def require_default(context: StepContext, kind: str, named: str | None, default: str) -> None:
    """Raise StepFailed when a step names a provider other than the one that is open.

    A runtime opens one embedding model and one vector store: vectors of two models never share a collection.
    """
    if named is not None and named != default:
        raise context.failed(
            f'names the {kind} provider "{named}"; this version uses one {kind} provider per runtime, "{default}"'
        )


def language_model(context: StepContext, named: str | None) -> LanguageModel:
    """The language model that a step names, or the default one.

    Raises StepFailed for a name that is not known: the checks of the document, and of a call's arguments, refuse one.
    """
    models = context.services.language_models
    name = named or context.services.default_language_model
    if name not in models:
        raise context.failed(f'names the language model "{name}"; known: {", ".join(sorted(models))}')
    return models[name]
