"""Checks of `data.load_documents`: what is sent to a database is what the author of the document wrote."""

from __future__ import annotations

from collections.abc import Iterator

from sibyl_runtime.workspace.arguments import LOADER
from sibyl_runtime.workspace.checks.context import Context, Finding
from sibyl_runtime.workspace.errors import Location
from sibyl_runtime.workspace.meaning import layers
from sibyl_runtime.workspace.references import references_of_kind


def queries_take_no_parameters(context: Context) -> Iterator[Finding]:
    """A parameter is text of a caller, and within a query it would be SQL."""
    seen: set[Location] = set()
    for used in context.steps():
        if used.step.use != LOADER or used.spec is None:
            continue
        for layer in layers(context.workspace, used.pipeline, used.step, used.spec):
            for key in ("dsn", "query"):
                value, at = layer.config.get(key), context.as_written((*layer.at, key))
                found = references_of_kind("parameter", value) if isinstance(value, str) else []
                if found and at not in seen:
                    seen.add(at)
                    yield Finding(
                        at,
                        f"{found[0].text}: a caller must not write what is sent to a database; write the value here, "
                        "or take it from the environment",
                    )
