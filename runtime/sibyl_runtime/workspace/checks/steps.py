"""Checks of the steps of pipelines: known techniques, settings that fit, an order that can work."""

from __future__ import annotations

from collections.abc import Iterator

from sibyl_runtime.workspace.checks.context import Context, Finding, uses
from sibyl_runtime.workspace.meaning import config_faults
from sibyl_runtime.workspace.techniques import UnknownTechnique, technique


def techniques_are_known(context: Context) -> Iterator[Finding]:
    """Every step names a technique that exists."""
    for used in context.steps():
        if used.spec is None:
            try:
                technique(used.step.use)
            except UnknownTechnique as error:
                yield Finding((*used.at, "use"), str(error))


def step_names_are_unique(context: Context) -> Iterator[Finding]:
    """A condition must know which step it means."""
    first: dict[tuple[str, str], str] = {}
    for used in context.steps():
        key = (used.pipeline, used.step.name)
        if key in first and used.step.name:
            yield Finding(
                (*used.at, "name"),
                f'steps {first[key]} and {used.label} are both called "{used.step.name}"; give one of them a `name`',
            )
        first.setdefault(key, used.label)


def shops_in_use_are_enabled(context: Context) -> Iterator[Finding]:
    """A disabled shop must not be used."""
    reported: set[str] = set()
    for used in context.steps():
        shop = context.workspace.shops.get(used.spec.shop) if used.spec is not None else None
        if used.spec is not None and shop is not None and not shop.enabled and used.spec.shop not in reported:
            reported.add(used.spec.shop)
            where = f'pipeline "{used.pipeline}"{context.built_in(used.pipeline)}'
            yield Finding(
                (*context.shop_at(used.spec.shop), "enabled"),
                f"is false, but {where} uses {used.spec.id}; enable the shop, or write the pipeline without that step",
            )


def steps_follow_what_they_need(context: Context) -> Iterator[Finding]:
    """Some techniques work on what another one made before them."""
    for name, pipeline in context.workspace.pipelines.items():
        first: dict[str, int] = {}
        for used in uses(name, pipeline):
            spec = used.spec
            if spec is not None and spec.needs is not None and first.get(spec.needs, used.index) >= used.index:
                message = f"{spec.id} works on what {spec.needs} makes; put that step before it"
                yield Finding((*used.at, "use"), message)
            first.setdefault(used.step.use, used.index)


def step_settings_fit(context: Context) -> Iterator[Finding]:
    """The settings of each step, merged from shop, technique and step, fit its technique."""
    for used in context.steps():
        if used.spec is not None:
            for place, message in config_faults(context.workspace, used.pipeline, used.step):
                yield Finding(context.as_written(place), message)


def vectors_are_stored(context: Context) -> Iterator[Finding]:
    """A pipeline that embeds and never stores spends its work for nothing."""
    for name, pipeline in context.workspace.pipelines.items():
        used = list(uses(name, pipeline))
        embedding = next((one for one in used if one.step.use == "rag.embedding"), None)
        later = used[used.index(embedding) :] if embedding is not None else []
        if embedding is not None and all(one.step.use != "data.store_vectors" for one in later):
            yield Finding(
                embedding.at,
                "embeds chunks that no later step stores; add data.store_vectors after it",
            )
