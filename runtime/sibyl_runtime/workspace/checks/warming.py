"""Checks of `infrastructure.cache_warming`: something is kept, by calls that can be made, in a pipeline of its own."""

from __future__ import annotations

from collections.abc import Iterator

from sibyl_runtime.workspace.arguments import validate_arguments, validate_parameters
from sibyl_runtime.workspace.checks.context import Context, Finding, UsedStep
from sibyl_runtime.workspace.errors import ArgumentsInvalid, WorkspaceInvalid
from sibyl_runtime.workspace.meaning import step_config
from sibyl_runtime.workspace.warmed import NoToolToWarm, warmed_tool, warming_pipelines
from sibyl_runtime.workspace.warming import CACHE_WARMING, QUERY, CacheWarmingConfig

_CACHING = "shops.infrastructure.config.caching"


def warming_has_caches(context: Context) -> Iterator[Finding]:
    """Where no answer is kept, or none can be asked for, questions are asked ahead for nothing."""
    caching = context.workspace.caching
    levels = (caching.memory_level, caching.redis_level, caching.disk_level)
    asked = 0
    for used in _warming(context):
        at = (*used.at, "use")
        config = _settings(context, used)
        asked += 0 if config is None else len(config.queries)
        if not caching.enabled:
            yield Finding(at, f"fills caches, and nothing is kept here; set {_CACHING}.enabled: true")
        elif not caching.keeps_answers:
            yield Finding(at, f"asks for answers, and none are kept; set {_CACHING}.cache_generations: true")
        elif not any(levels):
            yield Finding(at, f"fills caches, and every level of {_CACHING} is off; use one of memory, redis and disk")
        elif levels[1:] == (None, None) and levels[0] is not None and asked > levels[0].max_size:
            yield Finding(
                (*used.at, "config", "queries"),
                f"are {asked} in all, and the only level keeps {levels[0].max_size} answers; raise "
                f"{_CACHING}.memory.max_size, or ask fewer",
            )
        if not context.workspace.mcp.enabled:
            yield Finding(at, "asks for answers that nobody can ask for: mcp.enabled is false; remove the pipeline")


def warming_stands_alone(context: Context) -> Iterator[Finding]:
    """The service runs such a pipeline by itself, without arguments, and what it answers nobody reads."""
    warming = warming_pipelines(context.workspace)
    for used in context.steps():
        if used.pipeline in warming and used.step.use != CACHE_WARMING:
            yield Finding(
                (*used.at, "use"),
                f'has no place in pipeline "{used.pipeline}", which warms caches: put it in a pipeline of its own',
            )
        elif used.pipeline in warming and "on_error" in used.step.model_fields_set:
            yield Finding(
                (*used.at, "on_error"),
                "has no effect here: a question that fails ends no other, and is asked again; remove it",
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
    """The settings with which the service runs the step, those of the defaults of parameters; None where they do not
    fit, of which other checks tell."""
    try:
        parameters = validate_parameters(context.workspace, used.pipeline, {})
        config = step_config(context.workspace, used.pipeline, used.step, parameters)
    except (WorkspaceInvalid, ArgumentsInvalid):
        return None
    return config if isinstance(config, CacheWarmingConfig) else None
