"""Which of the configured providers a step may name."""

from __future__ import annotations

from sibyl_runtime.pipeline.context import StepContext


def require_default(context: StepContext, kind: str, named: str | None, default: str) -> None:
    """Raise StepFailed when a step names a provider other than the one that is open.

    A runtime opens one embedding model and one vector store: vectors of two models never share a collection.
    """
    if named is not None and named != default:
        raise context.failed(
            f'names the {kind} provider "{named}"; this version uses one {kind} provider per runtime, "{default}"'
        )
