"""Checks of KPIs: each can be measured, here and by the operator, and is told from the others by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sibyl_runtime.workspace.checks.context import Context, Finding
from sibyl_runtime.workspace.kpis.figures import Unmeasurable, indicator_of
from sibyl_runtime.workspace.text import refers_to_environment

_TEXTS = ("name", "metric", "window")


def kpi_names_are_unique(context: Context) -> Iterator[Finding]:
    """A figure is reported under its name."""
    first: dict[str, int] = {}
    for index, kpi in enumerate(context.workspace.observability.kpis):
        if kpi.name in first:
            yield Finding(
                ("observability", "kpis", index, "name"), f'kpis {first[kpi.name]} and {index} are both "{kpi.name}"'
            )
        first.setdefault(kpi.name, index)


def kpis_can_be_measured(context: Context) -> Iterator[Finding]:
    """Each names a figure. Its words are written out: the operator has no environment to find them in."""
    for index, kpi in enumerate(context.workspace.observability.kpis):
        at = ("observability", "kpis", index)
        referring = [field for field in _TEXTS if refers_to_environment(_written(context, index, field))]
        for field in referring:
            yield Finding((*at, field), "is written out here, so that the operator can measure it too")
        if referring:
            continue
        try:
            indicator_of(kpi)
        except Unmeasurable as error:
            yield Finding((*at, error.field), str(error))


def _written(context: Context, index: int, field: str) -> str:
    """The text before the environment is put in; empty where there is none."""
    value: object = context.raw.get("observability")
    value = value.get("kpis") if isinstance(value, Mapping) else None
    kpi = value[index] if isinstance(value, list) and index < len(value) else None
    text = kpi.get(field) if isinstance(kpi, Mapping) else None
    return text if isinstance(text, str) else ""
