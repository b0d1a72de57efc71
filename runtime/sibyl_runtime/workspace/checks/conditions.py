"""Checks of conditions: each can be read, and will have a value when its step is reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from sibyl_runtime.workspace.arguments import pipeline_parameters
from sibyl_runtime.workspace.checks.context import Context, Finding, UsedStep, uses
from sibyl_runtime.workspace.checks.failures import LAZY, STORING
from sibyl_runtime.workspace.checks.parallel import gathered_results
from sibyl_runtime.workspace.comparison import ANYTHING, ConditionError
from sibyl_runtime.workspace.conditions import Condition
from sibyl_runtime.workspace.errors import Location, nearest
from sibyl_runtime.workspace.parameters import ToolParameter
from sibyl_runtime.workspace.result_kinds import SAMPLES, Kind
from sibyl_runtime.workspace.techniques import TechniqueSpec

_PARAMETER_KINDS: Mapping[str, Kind] = {
    "string": Kind.TEXT, "integer": Kind.NUMBER, "number": Kind.NUMBER, "boolean": Kind.TRUTH, "array": Kind.LIST,
    "object": Kind.OBJECT,
}  # fmt: skip


def conditions_can_be_evaluated(context: Context) -> Iterator[Finding]:
    """Syntax, steps and their result fields, and parameters of every condition."""
    for name, pipeline in context.workspace.pipelines.items():
        parameters = pipeline_parameters(context.workspace, name)
        unclear = _of_several_types(context, name)
        used = list(uses(name, pipeline))
        for one in used:
            if one.step.condition is not None:
                earlier = {other.step.name: other.spec for other in used if other.index < one.index}
                earlier |= gathered_results(pipeline.steps[: one.index])
                later = {other.step.name: _why_not_before(other, one) for other in used if other.index >= one.index}
                at = (*one.at, "condition")
                try:
                    condition = Condition.parse(_as_written(context, at, one.step.condition))
                except ConditionError as error:
                    yield Finding(at, str(error))
                    continue
                faults = (*_faults(condition, earlier, later, parameters, unclear), *_uncounted(condition, used, one))
                yield from (Finding(at, fault) for fault in faults)


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
    condition: Condition,
    earlier: Mapping[str, TechniqueSpec | None],
    later: Mapping[str, str],
    parameters: Mapping[str, ToolParameter],
    unclear: Set[str],
) -> Iterator[str]:
    missing = [_result_fault(step, field, earlier, later) for step, field in condition.references]
    missing += [_parameter_fault(name, parameters) for name in condition.parameters]
    faults = [fault for fault in missing if fault is not None]
    yield from (f'"{condition.text}": {fault}' for fault in faults)
    if not faults:
        yield from _incomparable(condition, earlier, parameters, unclear)


def _uncounted(condition: Condition, used: Sequence[UsedStep], one: UsedStep) -> Iterator[str]:
    """Documents flow through the steps of a load; how many they were is known once they have been stored."""
    before = [other for other in used if other.index < one.index]
    if any(other.step.use == STORING for other in before):
        return
    flowing = {other.step.name for other in before if other.step.use in LAZY}
    for step, field in condition.references:
        if step in flowing and field == "count":
            known = f'the count of step "{step}" is known once {STORING} has ended; only later steps can ask for it'
            yield f'"{condition.text}": {known}'


def _of_several_types(context: Context, pipeline: str) -> Set[str]:
    """Parameters that tools over one pipeline declare by different types, and the pipeline by none."""
    types: dict[str, set[str]] = {}
    for tool in context.workspace.effective_tools.values():
        if tool.pipeline == pipeline:
            for name, parameter in tool.parameters.items():
                types.setdefault(name, set()).add(parameter.type)
    own = context.workspace.pipelines[pipeline].parameters
    return {name for name, found in types.items() if len(found) > 1 and name not in own}


def _incomparable(
    condition: Condition,
    steps: Mapping[str, TechniqueSpec | None],
    parameters: Mapping[str, ToolParameter],
    unclear: Set[str],
) -> Iterator[str]:
    """What no values of these kinds can mend: it is judged by one value of each kind."""
    results: dict[str, dict[str, Any]] = {}
    for step, field in condition.references:
        spec = steps[step]
        kind = None if spec is None else spec.results.get(field)
        results.setdefault(step, {})[field] = ANYTHING if kind is None else SAMPLES[kind]
    given = {
        name: ANYTHING if name in unclear else SAMPLES[_PARAMETER_KINDS[parameters[name].type]]
        for name in condition.parameters
    }
    try:
        condition.check(results, given)
    except ConditionError as error:
        yield str(error)


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
