"""Checks of tools and parameters: a tool runs a pipeline that exists, and every parameter of it has an effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sibyl_runtime.workspace.checks.context import Context, Finding
from sibyl_runtime.workspace.defaults import referenced_parameters
from sibyl_runtime.workspace.errors import Location, suggestion
from sibyl_runtime.workspace.mcp import Tool
from sibyl_runtime.workspace.parameters import ToolParameter, argument_faults, unknown_names
from sibyl_runtime.workspace.pipelines import Pipeline

READS_QUERY = frozenset({"rag.retrieval", "ai_generation.generation"})


def tool_names_are_unique(context: Context) -> Iterator[Finding]:
    """Clients call a tool by its name."""
    first: dict[str, int] = {}
    for index, tool in enumerate(context.workspace.mcp.tools):
        if tool.name in first:
            yield Finding(
                ("mcp", "tools", index, "name"), f'tools {first[tool.name]} and {index} are both called "{tool.name}"'
            )
        first.setdefault(tool.name, index)


def tool_pipelines_exist(context: Context) -> Iterator[Finding]:
    """A tool runs a pipeline of the document, or a built-in one."""
    known = context.workspace.effective_pipelines
    for index, tool in enumerate(context.workspace.mcp.tools):
        if tool.pipeline not in known:
            yield Finding(
                ("mcp", "tools", index, "pipeline"),
                f'no pipeline is called "{tool.pipeline}"{suggestion(tool.pipeline, known)}',
            )


def tool_parameters_fit_their_pipeline(context: Context) -> Iterator[Finding]:
    """What a call gives must reach a step, and what the steps read must be given."""
    for index, tool in enumerate(context.workspace.mcp.tools):
        pipeline = context.workspace.effective_pipelines.get(tool.pipeline)
        if pipeline is not None:
            at = ("mcp", "tools", index, "parameters")
            yield from _unused(tool.parameters, pipeline, at, tool.pipeline)
            yield from _missing(tool, pipeline, at)


def pipeline_parameters_are_used(context: Context) -> Iterator[Finding]:
    """A parameter that no step refers to does nothing."""
    for name, pipeline in context.workspace.pipelines.items():
        yield from _unused(pipeline.parameters, pipeline, ("pipelines", name, "parameters"), name)


def _reads_query(pipeline: Pipeline) -> bool:
    return any(step.use in READS_QUERY for step in pipeline.all_steps)


def _unused(parameters: Mapping[str, ToolParameter], pipeline: Pipeline, at: Location, name: str) -> Iterator[Finding]:
    used = set(referenced_parameters(pipeline)) | ({"query"} if _reads_query(pipeline) else set())
    for parameter in parameters:
        if parameter not in used:
            yield Finding(
                (*at, parameter),
                f'no step of pipeline "{name}" uses it; refer to it as ${{{parameter}}} in a step, or remove it',
            )


def _missing(tool: Tool, pipeline: Pipeline, at: Location) -> Iterator[Finding]:
    if _reads_query(pipeline) and "query" not in tool.parameters:
        yield Finding(at, f'pipeline "{tool.pipeline}" reads "query"; add a parameter of that name, type string')
    elif _reads_query(pipeline) and tool.parameters["query"].type != "string":
        yield Finding((*at, "query", "type"), f"must be string for the question, found {tool.parameters['query'].type}")
    for name, parameter in pipeline.parameters.items():
        if parameter.required and name not in tool.parameters:
            yield Finding(at, f'pipeline "{tool.pipeline}" requires "{name}"; add a parameter of that name')


def parameter_values_fit(context: Context) -> Iterator[Finding]:
    """Defaults and enumerated values must pass the checks that arguments pass."""
    for index, tool in enumerate(context.workspace.mcp.tools):
        at: Location = ("mcp", "tools", index)
        yield from _values(tool.parameters, (*at, "parameters"))
        yield from _tool_defaults(tool, (*at, "defaults"))
    for name, pipeline in context.workspace.pipelines.items():
        yield from _values(pipeline.parameters, ("pipelines", name, "parameters"))


def _values(parameters: Mapping[str, ToolParameter], at: Location) -> Iterator[Finding]:
    for name, parameter in parameters.items():
        here = (*at, name)
        if parameter.has_default:
            yield from _argument_findings(parameter.default, parameter, (*here, "default"))
        without_enum = parameter.model_copy(update={"enum": None})
        for index, value in enumerate(parameter.enum or ()):
            yield from _argument_findings(value, without_enum, (*here, "enum", index))
        yield from _values(parameter.properties or {}, (*here, "properties"))
        if parameter.items is not None:
            yield from _values({"items": parameter.items}, here)


def _tool_defaults(tool: Tool, at: Location) -> Iterator[Finding]:
    for place, message in unknown_names(tool.defaults, tool.parameters, at, "parameter"):
        yield Finding(place, message)
    for name, value in tool.defaults.items():
        parameter = tool.parameters.get(name)
        if parameter is None:
            continue
        if parameter.has_default or parameter.required:
            reason = "has a default already" if parameter.has_default else "is required, so its default never counts"
            yield Finding((*at, name), f'the parameter "{name}" {reason}; remove one of the two')
        yield from _argument_findings(value, parameter, (*at, name))


def _argument_findings(value: Any, parameter: ToolParameter, at: Location) -> Iterator[Finding]:
    for place, message in argument_faults(value, parameter, at):
        yield Finding(place, message)
