"""Checks of providers: each name that a step gives exists, and a step that gives none has a clear default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sibyl_runtime.workspace.checks.context import Context, Finding, UsedStep
from sibyl_runtime.workspace.errors import ArgumentsInvalid, Location, WorkspaceInvalid, format_path, suggestion
from sibyl_runtime.workspace.meaning import step_config
from sibyl_runtime.workspace.parameters import ToolParameter
from sibyl_runtime.workspace.provider_names import PROVIDER_KINDS, named_providers, provider_fault
from sibyl_runtime.workspace.providers import DEFAULT_NAMES
from sibyl_runtime.workspace.references import EnvironmentText, references_of_kind
from sibyl_runtime.workspace.step_configs import GenerationConfig
from sibyl_runtime.workspace.techniques import canonical_use
from sibyl_runtime.workspace.templates import is_template


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
            built_in = context.built_in(used.pipeline)
            otherwise = (
                f"write pipelines.{used.pipeline}, where the step can name one"
                if built_in
                else "give the step a provider"
            )
            yield Finding(
                ("providers", "llm"),
                f'holds {", ".join(sorted(names))}, and step "{used.step.name}" of pipeline "{used.pipeline}"'
                f"{built_in} names none; call one of them default, or {otherwise}",
            )


def parameters_choose_providers(context: Context) -> Iterator[Finding]:
    """Where a parameter names the provider of a step, its defaults and the values that it allows are providers."""
    seen: set[Location] = set()
    for used in context.steps():
        text, at = written_provider(context, used)
        named = references_of_kind("parameter", text) if isinstance(text, str) else []
        if used.step.use not in PROVIDER_KINDS or not isinstance(text, str) or is_template(text) or len(named) != 1:
            continue
        name, structured = named[0].name, _is_structured(context, used)
        for place, value in (*_foreseen(context, used.pipeline, name), (at, named[0].default)):
            if not isinstance(value, str) or place in seen:
                continue
            chosen = text.replace(named[0].text, value)
            fault = provider_fault(context.workspace, used.step.use, chosen, structured=structured)
            if fault is not None:
                seen.add(place)
                where = "" if place == at else f" ({format_path(context.as_written(at))})"
                yield Finding(place, f"{fault}{where}")


def _is_structured(context: Context, used: UsedStep) -> bool:
    """Whether a step writes answers that fit a schema; one whose settings do not fit is reported by other checks."""
    try:
        config = step_config(context.workspace, used.pipeline, used.step, None)
    except (ArgumentsInvalid, WorkspaceInvalid):
        return False
    return isinstance(config, GenerationConfig) and config.subtechnique == "structured"


def _foreseen(context: Context, pipeline: str, name: str) -> Iterator[tuple[Location, object]]:
    """Every value of the parameter `name` of a pipeline that the document itself holds, with its place."""
    declared: list[tuple[Location, Mapping[str, ToolParameter]]] = []
    if pipeline in context.workspace.pipelines:
        declared.append((("pipelines", pipeline, "parameters"), context.workspace.pipelines[pipeline].parameters))
    for index, tool in enumerate(context.workspace.mcp.tools):
        if tool.pipeline == pipeline:
            declared.append((("mcp", "tools", index, "parameters"), tool.parameters))
            yield ("mcp", "tools", index, "defaults", name), tool.defaults.get(name)
    for at, parameters in declared:
        parameter = parameters.get(name)
        if parameter is not None:
            yield (*at, name, "default"), parameter.default
            yield from (((*at, name, "enum", index), value) for index, value in enumerate(parameter.enum or ()))
