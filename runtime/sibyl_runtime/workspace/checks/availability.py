"""Checks of what this version has: what the dialect knows and the runtime cannot do yet is refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from sibyl_runtime.workspace.base import StrictModel, available_values, is_planned, planned_values
from sibyl_runtime.workspace.checks.context import Context, Finding
from sibyl_runtime.workspace.errors import Location, format_path, found
from sibyl_runtime.workspace.meaning import without_parameters
from sibyl_runtime.workspace.provider_names import named_providers
from sibyl_runtime.workspace.step_configs import AnyConfig
from sibyl_runtime.workspace.techniques import (
    TECHNIQUES,
    TechniqueSpec,
    available_techniques,
    canonical_use,
    techniques_of,
)

MISSING = "is not available in this version"


def fields_are_available(context: Context) -> Iterator[Finding]:
    """Every field and value written in the document's models."""
    for finding in missing_fields(context.workspace, ()):
        yield Finding(context.as_written(finding.at), finding.message)
    if "infrastructure" in context.workspace.shops:
        at = (*context.shop_at("infrastructure"), "config", "caching")
        yield from missing_fields(context.workspace.caching, at)


def missing_fields(model: StrictModel, at: Location) -> Iterator[Finding]:
    """The fields written in `model`, and in models within it, that have no effect in this version."""
    fields = type(model).model_fields
    for name in sorted(model.model_fields_set & fields.keys()):
        field, value = fields[name], getattr(model, name)
        here = at if name == "named" else (*at, name)
        if is_planned(field):
            available = ", ".join(one for one in sorted(fields) if one != "named" and not is_planned(fields[one]))
            listed = f" (available here: {available})" if available else ""
            yield Finding(here, f"`{format_path(here)}` {MISSING}; remove it{listed}")
        elif isinstance(value, str | bool) and value in planned_values(field):
            yield Finding(here, f"{found(value)} {MISSING}; available: {available_values(field)}")
        else:
            yield from _missing_within(value, here)


def _missing_within(value: Any, at: Location) -> Iterator[Finding]:
    if isinstance(value, StrictModel):
        yield from missing_fields(value, at)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _missing_within(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _missing_within(inner, (*at, index))


def techniques_are_available(context: Context) -> Iterator[Finding]:
    """Every technique that a pipeline uses."""
    for used in context.steps():
        if used.spec is not None and not used.spec.available:
            yield Finding((*used.at, "use"), f"`{used.spec.id}` {MISSING}; available: {available_techniques()}")


def step_settings_are_available(context: Context) -> Iterator[Finding]:
    """Every setting of a technique, in steps and in shops."""
    for used in context.steps():
        if used.spec is not None and used.spec.available:
            yield from _missing_settings(used.spec, used.step.config, (*used.at, "config"))
    for name, shop in context.workspace.shops.items():
        for written, config in shop.techniques.items():
            spec = TECHNIQUES.get(canonical_use(f"{name}.{written}"))
            at = (*context.shop_at(name), "techniques", written)
            if spec is not None and not spec.available:
                yield Finding(at, f"`{spec.id}` {MISSING}; available: {available_techniques()}")
            elif spec is not None:
                yield from _missing_settings(spec, config, at)


def shop_settings_are_available(context: Context) -> Iterator[Finding]:
    """A setting of a shop needs an available technique that knows it."""
    for name, shop in context.workspace.shops.items():
        specs = techniques_of(name)
        for key, value in shop.config.items():
            at = (*context.shop_at(name), "config", key)
            if key == "caching" and name == "infrastructure":
                continue
            knowing = [spec for spec in specs if key in spec.config.model_fields]
            usable = [spec for spec in knowing if spec.available]
            if not usable and (knowing or all(issubclass(spec.config, AnyConfig) for spec in specs)):
                yield Finding(at, f"`{format_path(at)}` {MISSING}: no technique that reads it is; remove it")
            for spec in usable:
                yield from _missing_settings(spec, {key: value}, at[:-1])


def _missing_settings(spec: TechniqueSpec, config: Mapping[str, Any], at: Location) -> Iterator[Finding]:
    try:
        settings = spec.config.model_validate(without_parameters(config, at))
    except ValidationError:  # reported by the checks of steps and shops
        return
    yield from missing_fields(settings, at)


def providers_are_available(context: Context) -> Iterator[Finding]:
    """One embedding model and one vector store per workspace; devices that the backend can use."""
    workspace = context.workspace
    for kind, used in (
        ("embedding", workspace.default_embedding[0]),
        ("vector_store", workspace.default_vector_store[0]),
    ):
        for name in named_providers(workspace, kind):
            if name != used:
                at: Location = ("providers", kind, name)
                yield Finding(at, f'a second provider of this kind {MISSING}; "{used}" is used, remove "{name}"')
    for name, embedding in workspace.providers.embedding.items():
        if embedding.backend == "onnx" and embedding.device != "cpu":
            at = ("providers", "embedding", name, "device")
            yield Finding(
                at, f'"{embedding.device}" {MISSING} with backend onnx; available: cpu, or set backend: torch'
            )
