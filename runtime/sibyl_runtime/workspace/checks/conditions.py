"""Checks of conditions: each can be read, and will have a value when its step is reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sibyl_runtime.workspace.arguments import pipeline_parameters
from sibyl_runtime.workspace.checks.context import Context, Finding
from sibyl_runtime.workspace.comparison import ConditionError
from sibyl_runtime.workspace.conditions import Condition
from sibyl_runtime.workspace.errors import nearest
from sibyl_runtime.workspace.parameters import ToolParameter
from sibyl_runtime.workspace.techniques import TECHNIQUES, TechniqueSpec


def conditions_can_be_evaluated(context: Context) -> Iterator[Finding]:
    """Syntax, steps and their result fields, and parameters of every condition."""
    for name, pipeline in context.workspace.pipelines.items():
        parameters = pipeline_parameters(context.workspace, name)
        earlier: dict[str, TechniqueSpec | None] = {}
        later = [step.name for step in pipeline.steps]
        for index, step in enumerate(pipeline.steps):
            later.remove(step.name)
            if step.condition is not None:
                at = ("pipelines", name, "steps", index, "condition")
                text = _as_written(context, name, index, step.condition)
                for fault in _faults(text, earlier, [*later, step.name], parameters):
                    yield Finding(at, fault)
            earlier[step.name] = TECHNIQUES.get(step.use)


def _as_written(context: Context, pipeline: str, index: int, condition: str) -> str:
    """The condition before the environment is put in, so that the operator and the runtime judge the same text."""
    value: object = context.raw
    for key in ("pipelines", pipeline, "steps"):
        value = value.get(key) if isinstance(value, Mapping) else None
    step = value[index] if isinstance(value, list) and index < len(value) else None
    written = step.get("condition") if isinstance(step, Mapping) else None
    return written if isinstance(written, str) else condition


def _faults(
    text: str, earlier: Mapping[str, TechniqueSpec | None], later: list[str], parameters: Mapping[str, ToolParameter]
) -> Iterator[str]:
    try:
        condition = Condition.parse(text)
    except ConditionError as error:
        yield str(error)
        return
    for step, field in condition.references:
        fault = _result_fault(step, field, earlier, later)
        if fault is not None:
            yield f'"{text}": {fault}'
    for name in condition.parameters:
        fault = _parameter_fault(name, parameters)
        if fault is not None:
            yield f'"{text}": {fault}'


def _result_fault(step: str, field: str, earlier: Mapping[str, TechniqueSpec | None], later: list[str]) -> str | None:
    if step not in earlier:
        if step in later:
            return f'step "{step}" does not run before this one'
        known = f"earlier steps: {', '.join(earlier)}" if earlier else "no step comes before this one"
        near = nearest(step, earlier)
        return f'no step is called "{step}"; {known}' + (f". Did you mean {near}?" if near else "")
    spec = earlier[step]
    if spec is None or field in spec.results or not spec.results:
        return None
    return f'step "{step}" has no "{field}"; it has {", ".join(sorted(spec.results))}'


def _parameter_fault(name: str, parameters: Mapping[str, ToolParameter]) -> str | None:
    if name not in parameters:
        return f'no parameter is called "{name}"; known: {", ".join(sorted(parameters))}'
    parameter = parameters[name]
    if name == "query" or parameter.required or parameter.has_default:
        return None
    return f'the parameter "{name}" may not be given; make it required, or give it a default'
