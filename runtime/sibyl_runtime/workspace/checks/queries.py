"""Checks of `rag.query_processing`: a model that can write the queries, and a search that uses them."""

from __future__ import annotations

from collections.abc import Iterator

from sibyl_runtime.workspace.checks.context import Context, Finding, uses
from sibyl_runtime.workspace.checks.providers import written_provider

QUERY_PROCESSING = "rag.query_processing"
RETRIEVAL = "rag.retrieval"


def queries_need_a_model_that_writes(context: Context) -> Iterator[Finding]:
    """The extractive model quotes passages; it cannot word a query."""
    default_name, known = context.workspace.default_llm[0], context.workspace.language_models
    writing = ", ".join(sorted(name for name, provider in known.items() if provider.kind != "extractive"))
    for used in context.steps():
        if used.step.use != QUERY_PROCESSING:
            continue
        name, at = written_provider(context, used)
        provider = known.get(default_name if name is None else str(name))
        if provider is not None and provider.kind == "extractive":
            cure = f"name one that does as its provider: {writing}" if writing else "add one of kind openai"
            yield Finding(
                at if name is not None else (*used.at, "use"),
                f"{QUERY_PROCESSING} needs a language model that writes, and "
                f'"{default_name if name is None else name}" is extractive, which only quotes; {cure} (providers.llm)',
            )


def queries_are_searched_for(context: Context) -> Iterator[Finding]:
    """Queries that no search takes cost a model call for nothing."""
    for name, pipeline in context.workspace.pipelines.items():
        used = list(uses(name, pipeline))
        for one in used:
            if one.step.use == QUERY_PROCESSING and not any(
                other.step.use == RETRIEVAL and other.index > one.index for other in used
            ):
                yield Finding(
                    one.at,
                    f"makes queries that no later step searches for; add {RETRIEVAL} after it",
                )
