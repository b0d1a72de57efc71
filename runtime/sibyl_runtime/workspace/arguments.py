"""The check of a call's arguments against the tool that is called, and of a run's against its pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sibyl_runtime.workspace.document import Workspace
from sibyl_runtime.workspace.mcp import Tool
from sibyl_runtime.workspace.parameters import ToolParameter, checked_arguments

LOADER: Final = "data.load_documents"


def validate_arguments(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`arguments` with the tool's defaults filled in; nothing is coerced. Raises ArgumentsInvalid with all problems."""
    return checked_arguments(arguments, tool.parameters, tool.defaults)


def pipeline_parameters(workspace: Workspace, pipeline_name: str) -> dict[str, ToolParameter]:
    """What a run of the pipeline may be given: its own parameters, and those of the tools that use it.

    The pipeline's own declaration wins; of two tools, the first. Every pipeline knows `query`, and one that loads
    documents knows `path`, which wins over the path of its step.
    """
    pipeline = workspace.effective_pipelines[pipeline_name]
    declared: dict[str, ToolParameter] = dict(pipeline.parameters)
    for tool in workspace.effective_tools.values():
        if tool.pipeline == pipeline_name:
            for name, parameter in tool.parameters.items():
                declared.setdefault(name, parameter)
    declared.setdefault("query", ToolParameter(type="string", description="The question, in words."))
    if any(step.use == LOADER for step in pipeline.all_steps):
        declared.setdefault("path", ToolParameter(type="string", description="File or directory to read."))
    return declared


def validate_parameters(workspace: Workspace, pipeline_name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`arguments` of a run with defaults filled in; nothing is coerced. Raises ArgumentsInvalid with all problems."""
    return checked_arguments(arguments, pipeline_parameters(workspace, pipeline_name), {})
