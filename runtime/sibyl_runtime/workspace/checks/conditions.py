"""Checks of conditions: each can be read, and will have a value when its step is reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sibyl_runtime.workspace.arguments import pipeline_parameters
from sibyl_runtime.workspace.checks.context import Context, Finding, UsedStep, uses
from sibyl_runtime.workspace.checks.parallel import gathered_results
from sibyl_runtime.workspace.comparison import ConditionError
from sibyl_runtime.workspace.conditions import Condition
from sibyl_runtime.workspace.errors import Location, nearest
from sibyl_runtime.workspace.parameters import ToolParameter
from sibyl_runtime.workspace.techniques import TechniqueSpec


def conditions_can_be_evaluated(context: Context) -> Iterator[Finding]:
    """Syntax, steps and their result fields, and parameters of every condition."""
    for name, pipeline in context.workspace.pipelines.items():
        parameters = pipeline_parameters(context.workspace, name)
        used = list(uses(name, pipeline))
        for one in used:
            if one.step.condition is not None:
                earlier = {other.step.name: other.spec for other in used if other.index < one.index}
                earlier |= gathered_results(pipeline.steps[: one.index])
                later = {other.step.name: _why_not_before(other, one) for other in used if other.index >= one.index}
                at = (*one.at, "condition")
                for fault in _faults(_as_written(context, at, one.step.condition), earlier, later, parameters):
                    yield Finding(at, fault)


def _why_not_before(other: UsedStep, used: UsedStep) -> str:
    if other.index == used.index and other is not used:
        return "runs at the same time as this one; put it before the group"
    return "does not run before this one"


def _as_written(context: Context, at: Location, condition: str) -> str:
    """The condition before the environment is put in, so that the operator and the runtime judge the same text."""
    value: object = context.raw
    for part in at:
        if isinstance(value, Mapping):
            value = value.get(part)
        else:
            value = value[part] if isinstance(value, list) and isinstance(part, int) and part < len(value) else None
    return value if isinstance(value, str) else condition


def _faults(
    text: str,
    earlier: Mapping[str, TechniqueSpec | None],
    later: Mapping[str, str],
    parameters: Mapping[str, ToolParameter],
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


def _result_fault(
    step: str, field: str, earlier: Mapping[str, TechniqueSpec | None], later: Mapping[str, str]
) -> str | None:
    if step not in earlier:
        if step in later:
            return f'step "{step}" {later[step]}'
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
