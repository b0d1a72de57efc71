"""What a workspace warms: which pipelines do it, and which tool their questions are asked of."""

from __future__ import annotations

from sibyl_runtime.workspace.arguments import validate_arguments
from sibyl_runtime.workspace.document import Workspace
from sibyl_runtime.workspace.errors import ArgumentsInvalid, suggestion
from sibyl_runtime.workspace.mcp import Tool
from sibyl_runtime.workspace.warming import CACHE_WARMING, CacheWarmingConfig


class NoToolToWarm(ValueError):
    """The questions of a step mean no tool, or more than one; the message says which there are."""


def warming_pipelines(workspace: Workspace) -> tuple[str, ...]:
    """The names of the pipelines that warm caches, in the order of the document."""
    pipelines = workspace.effective_pipelines.items()
    return tuple(name for name, pipeline in pipelines if any(step.use == CACHE_WARMING for step in pipeline.all_steps))


def warmed_tool(workspace: Workspace, config: CacheWarmingConfig) -> Tool:
    """The tool that is named; else the only one, or the only one that takes such a call. Raises NoToolToWarm."""
    warming = warming_pipelines(workspace)
    tools = {name: tool for name, tool in workspace.effective_tools.items() if tool.pipeline not in warming}
    if config.tool is not None:
        if config.tool not in tools:
            raise NoToolToWarm(f'no tool is called "{config.tool}"{suggestion(config.tool, tools)}')
        return tools[config.tool]
    fitting = [tool for tool in tools.values() if len(tools) == 1 or _takes(tool, config)]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(sorted(tool.name for tool in fitting or tools.values())) or "none"
    if fitting:
        raise NoToolToWarm(f"is needed, since several tools can be asked: name one of {names}")
    raise NoToolToWarm(f"is needed, since no tool takes a question and these arguments alone; tools: {names}")


def _takes(tool: Tool, config: CacheWarmingConfig) -> bool:
    try:
        validate_arguments(tool, config.asking(config.queries[0]))
    except ArgumentsInvalid:
        return False
    return True
