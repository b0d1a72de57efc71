"""Checks of `${...}`: each means one of three things, and only some places give it a meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sibyl_runtime.workspace.arguments import pipeline_parameters
from sibyl_runtime.workspace.checks.context import Context, Finding
from sibyl_runtime.workspace.errors import Location, format_path, suggestion
from sibyl_runtime.workspace.explain import json_types
from sibyl_runtime.workspace.parameters import ToolParameter
from sibyl_runtime.workspace.pipelines import PARALLEL
from sibyl_runtime.workspace.references import MalformedReference, Reference, references, references_of_kind
from sibyl_runtime.workspace.walk import texts_in


def references_have_a_meaning(context: Context) -> Iterator[Finding]:
    """Malformed references anywhere; parameters and results where nothing can fill them in."""
    for at, text in texts_in(context.raw):
        if "${" not in text or _is_condition(at):
            continue
        try:
            found = list(references(text))
        except MalformedReference as error:
            yield Finding(at, str(error))
            continue
        for reference in found:
            message = _misplaced(reference, at)
            if message is not None:
                yield Finding(at, message)


def _is_condition(at: Location) -> bool:
    return _within_step(at) == ("condition",)


def _within_step(at: Location) -> Location:
    """What is left of a place below the step of a pipeline, in a group or not; () for any other place."""
    if at[:1] != ("pipelines",) or at[2:3] != ("steps",):
        return ()
    below = at[4:]
    return below[len(PARALLEL) + 1 :] if below[: len(PARALLEL)] == PARALLEL else below


def _misplaced(reference: Reference, at: Location) -> str | None:
    if reference.kind == "result":
        return f"{reference.text}: the result of a step can be used in a condition only"
    below = _within_step(at)
    in_config = len(below) > 1 and below[0] == "config"
    if reference.kind == "parameter" and not in_config:
        return (
            f"{reference.text}: a parameter can be used in the config of a step only; "
            f"for the environment write ${{{reference.name.upper()}}}"
        )
    return None


def parameters_are_declared(context: Context) -> Iterator[Finding]:
    """A step may refer to parameters of its pipeline, and of the tools that use it."""
    for used in context.steps():
        known = pipeline_parameters(context.workspace, used.pipeline)
        for at, text in texts_in(used.step.config, (*used.at, "config")):
            for reference in references_of_kind("parameter", text):
                if reference.name not in known:
                    where = f'pipeline "{used.pipeline}" or in a tool that uses it'
                    hint = suggestion(reference.name, known)
                    yield Finding(at, f'{reference.text}: no parameter "{reference.name}" in {where}{hint}')


def parameters_fit_their_settings(context: Context) -> Iterator[Finding]:
    """A parameter that stands for a whole setting must be able to have a value of the setting's type."""
    for used in context.steps():
        declared = list(_declarations(context, used.pipeline))
        for key, value in used.step.config.items():
            field = used.spec.config.model_fields.get(key) if used.spec is not None else None
            found = references_of_kind("parameter", value) if isinstance(value, str) else []
            if field is None or not found or found[0].text != value:
                continue
            accepted = json_types(field.annotation)
            for at, parameters in declared:
                parameter = parameters.get(found[0].name)
                if parameter is not None and parameter.type not in accepted:
                    wanted, place = " or ".join(sorted(accepted)), format_path((*used.at, "config", key))
                    message = f"must be {wanted} for {place}, found {parameter.type}"
                    yield Finding((*at, found[0].name, "type"), message)


def _declarations(context: Context, pipeline: str) -> Iterator[tuple[Location, Mapping[str, ToolParameter]]]:
    """The parameters of a pipeline as written, and those of each tool that uses it."""
    if pipeline in context.workspace.pipelines:
        yield ("pipelines", pipeline, "parameters"), context.workspace.pipelines[pipeline].parameters
    for index, tool in enumerate(context.workspace.mcp.tools):
        if tool.pipeline == pipeline:
            yield ("mcp", "tools", index, "parameters"), tool.parameters
