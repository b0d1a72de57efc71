"""Checks of `infrastructure.cache_warming`: something is kept, by calls that can be made, in a pipeline of its own."""

from __future__ import annotations

from collections.abc import Iterator

from sibyl_runtime.workspace.arguments import validate_arguments
from sibyl_runtime.workspace.checks.context import Context, Finding, UsedStep
from sibyl_runtime.workspace.errors import ArgumentsInvalid, WorkspaceInvalid
from sibyl_runtime.workspace.meaning import depends_on_parameters, step_config
from sibyl_runtime.workspace.warmed import NoToolToWarm, warmed_tool, warming_pipelines
from sibyl_runtime.workspace.warming import CACHE_WARMING, QUERY, CacheWarmingConfig

_CACHING = "shops.infrastructure.config.caching"


def warming_has_caches(context: Context) -> Iterator[Finding]:
    """Where nothing is kept, questions are asked ahead for nothing."""
    caching = context.workspace.caching
    keeps = caching.keeps_answers or caching.keeps_embeddings or caching.keeps_retrievals
    for used in _warming(context):
        if not keeps:
            yield Finding((*used.at, "use"), f"fills caches, and nothing is kept here; set {_CACHING}.enabled: true")


def warming_stands_alone(context: Context) -> Iterator[Finding]:
    """The service runs such a pipeline by itself, without arguments, and what it answers nobody reads."""
    warming = warming_pipelines(context.workspace)
    for used in context.steps():
        if used.pipeline in warming and used.step.use != CACHE_WARMING:
            yield Finding(
                (*used.at, "use"),
                f'has no place in pipeline "{used.pipeline}", which warms caches: put it in a pipeline of its own',
            )
    for name in warming:
        for parameter, declared in context.workspace.effective_pipelines[name].parameters.items():
            if declared.required:
                yield Finding(
                    ("pipelines", name, "parameters", parameter, "required"),
                    "must be false in a pipeline that warms caches, which the service runs by itself; give a default",
                )
    for index, tool in enumerate(context.workspace.mcp.tools):
        if tool.pipeline in warming:
            yield Finding(
                ("mcp", "tools", index, "pipeline"),
                f'"{tool.pipeline}" warms caches and answers nothing; name a pipeline that answers, or remove the tool',
            )


def warmed_questions_can_be_asked(context: Context) -> Iterator[Finding]:
    """Each question is a call of a tool that a caller could make."""
    for used in _warming(context):
        config = _settings(context, used)
        if config is None:
            continue
        try:
            tool = warmed_tool(context.workspace, config)
        except NoToolToWarm as error:
            yield Finding((*used.at, "config", "tool"), str(error))
            continue
        told = set()
        for index, query in enumerate(config.queries):
            try:
                validate_arguments(tool, config.asking(query))
            except ArgumentsInvalid as error:
                for problem in error.problems:
                    at = ("queries", index) if problem.path == QUERY else ("arguments",)
                    message = problem.message if problem.path == QUERY else f"{problem.path}: {problem.message}"
                    if (at, message) not in told:
                        told.add((at, message))
                        yield Finding((*used.at, "config", *at), f'{message} (tool "{tool.name}")')


def _warming(context: Context) -> Iterator[UsedStep]:
    return (used for used in context.steps() if used.step.use == CACHE_WARMING)


def _settings(context: Context, used: UsedStep) -> CacheWarmingConfig | None:
    """The settings, where they fit and no parameter changes them: other checks tell of the former."""
    if depends_on_parameters(context.workspace, used.pipeline, used.step):
        return None
    try:
        config = step_config(context.workspace, used.pipeline, used.step, None)
    except (WorkspaceInvalid, ArgumentsInvalid):
        return None
    return config if isinstance(config, CacheWarmingConfig) else None
