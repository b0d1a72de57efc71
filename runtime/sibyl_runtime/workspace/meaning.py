"""What a document means for a run: the settings of a step from three layers, and the buckets of the histograms."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from sibyl_runtime.workspace.document import Workspace
from sibyl_runtime.workspace.errors import ArgumentsInvalid, Location, WorkspaceInvalid, format_path, problem_at
from sibyl_runtime.workspace.explain import Fault, explained
from sibyl_runtime.workspace.kpis.figures import Percentile, indicator_of
from sibyl_runtime.workspace.pipelines import Step
from sibyl_runtime.workspace.provider_names import PROVIDER_KINDS, provider_fault
from sibyl_runtime.workspace.references import (
    ArgumentText,
    Reference,
    references_of_kind,
    scalar,
    unescape,
)
from sibyl_runtime.workspace.shops import Shop
from sibyl_runtime.workspace.step_configs import AnyConfig, StepConfig
from sibyl_runtime.workspace.techniques import TechniqueSpec, canonical_use, technique
from sibyl_runtime.workspace.walk import texts_in

LATENCY_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
PER_TECHNIQUE = frozenset({"subtechnique", "provider"})

_ABSENT: Final = object()
_WORDS: Final = re.compile(r"\w+")


@dataclass(frozen=True)
class Layer:
    """Settings of one place, all of which apply to the technique. Later layers win, key by key."""

    at: Location
    config: Mapping[str, Any]


def layers(workspace: Workspace, pipeline_name: str, step: Step, spec: TechniqueSpec) -> tuple[Layer, ...]:
    """The places that settings of a step come from: the shop's config, its technique, the step; the last wins."""
    shop = workspace.shops.get(spec.shop, Shop())
    at: Location = ("shops", spec.shop)
    placed = workspace.effective_pipelines[pipeline_name].placed_steps
    same = next((place for place, one in placed if one is step), None)
    place: Location = same or next((place for place, one in placed if one == step), (0,))
    layered = [Layer((*at, "config"), {key: shop.config[key] for key in shop.config if _is_shared(key, spec)})]
    for written, config in shop.techniques.items():
        if canonical_use(f"{spec.shop}.{written}") == spec.id:
            layered.append(Layer((*at, "techniques", written), config))
    return (*layered, Layer(("pipelines", pipeline_name, "steps", *place, "config"), step.config))


def written_values(workspace: Workspace, pipeline_name: str, step_name: str, key: str) -> list[Any]:
    """What the document itself writes for a setting of a step, in the order of the layers; never a caller's value."""
    step = next((one for one in workspace.effective_pipelines[pipeline_name].all_steps if one.name == step_name), None)
    if step is None:
        return []
    layered = layers(workspace, pipeline_name, step, technique(step.use))
    return [layer.config[key] for layer in layered if key in layer.config]


def _is_shared(key: str, spec: TechniqueSpec) -> bool:
    """A shop's setting reaches the techniques that know it; what only one technique can mean is not shared."""
    if issubclass(spec.config, AnyConfig):
        return spec.id != "infrastructure.caching" and key != "caching"
    return key in spec.config.model_fields and key not in PER_TECHNIQUE


def run_parameters(workspace: Workspace, pipeline_name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a run: those given, and the defaults that the pipeline declares for the others.

    Conditions are to be evaluated with these.
    """
    declared = workspace.effective_pipelines[pipeline_name].parameters
    return {**{name: parameter.default for name, parameter in declared.items() if parameter.has_default}, **given}


@dataclass(frozen=True)
class _Values:
    """Parameters of a run. `complete` False: the run is yet to come, and what is missing may still be given."""

    given: Mapping[str, Any]
    complete: bool


@dataclass(frozen=True)
class _Merged:
    """Settings of a step, and the layer that each key came from; `own` is the step's."""

    config: dict[str, Any]
    origin: dict[str, Layer]
    own: Layer


def step_config(
    workspace: Workspace, pipeline_name: str, step: Step, parameters: Mapping[str, Any] | None
) -> StepConfig:
    """The settings of `step` in one run: shop, technique and step merged, parameters in place, checked.

    `${name}` as a whole value takes the parameter's value and type; without a value (not given, or null) the key is
    left to the layers below. Within a text it must have a value. `parameters` None: settings before a run.
    Raises UnknownTechnique; ArgumentsInvalid when a parameter's value does not fit; WorkspaceInvalid otherwise.
    """
    spec = technique(step.use)
    merged = _merge(workspace, pipeline_name, step, spec, parameters)
    if parameters is not None:
        _check_named_providers(workspace, spec, merged)
    try:
        return spec.config.model_validate(merged.config)
    except ValidationError as error:
        faults = explained(error, spec.config)
        arguments = [(_argument(merged, fault.place), fault.message) for fault in faults]
        blamed = [problem_at(place, message) for place, message in arguments if place is not None]
        if len(blamed) == len(faults):
            raise ArgumentsInvalid(blamed) from None
        unfit = [(_meant(merged, fault), fault) for fault in faults] if parameters is not None else []
        if unfit and all(names for names, _ in unfit):
            raise ArgumentsInvalid(
                [
                    problem_at((" and ".join(names),), f"does not fit step `{step.name}`: {_sentence(fault)}")
                    for names, fault in unfit
                ]
            ) from None
        raise WorkspaceInvalid(
            [problem_at(_written_at(merged, fault.place), fault.message) for fault in faults]
        ) from None


def depends_on_parameters(workspace: Workspace, pipeline_name: str, step: Step) -> bool:
    """Whether the settings of `step` can differ between runs: a text of a layer refers to a parameter."""
    layered = layers(workspace, pipeline_name, step, technique(step.use))
    return any(references_of_kind("parameter", text) for layer in layered for _, text in texts_in(layer.config))


def _check_named_providers(workspace: Workspace, spec: TechniqueSpec, merged: _Merged) -> None:
    """Raises ArgumentsInvalid for an argument that names no provider; names that the document writes were checked."""
    if spec.id not in PROVIDER_KINDS:
        return
    structured = merged.config.get("subtechnique") == "structured"
    fallbacks = merged.config.get("fallback_providers")
    named: list[tuple[Location, Any]] = [(("provider",), merged.config.get("provider"))]
    if isinstance(fallbacks, list):
        named.extend((("fallback_providers", index), name) for index, name in enumerate(fallbacks))
    problems = []
    for place, name in named:
        argument = _argument(merged, place)
        if argument is None or not isinstance(name, str):
            continue
        fault = provider_fault(workspace, spec.id, name, structured=structured)
        if fault is not None:
            problems.append(problem_at(argument, fault))
    if problems:
        raise ArgumentsInvalid(problems)


def config_faults(workspace: Workspace, pipeline_name: str, step: Step) -> list[tuple[Location, str]]:
    """Everything that is wrong with the merged settings of a step before any run, each where it is written."""
    spec = technique(step.use)
    merged = _merge(workspace, pipeline_name, step, spec, None)
    return [(_written_at(merged, fault.place), fault.message) for fault in _all_faults(merged.config, spec.config)]


def _all_faults(config: Mapping[str, Any], model: type[StepConfig]) -> list[Fault]:
    """Reading again without the faulty keys brings out faults that were hidden behind them.

    A rule that is about a key that was left out is not told: it would be judged by a default that nobody wrote.
    """
    remaining = dict(config)
    faults: list[Fault] = []
    left_out: set[str] = set()
    while True:
        try:
            model.model_validate(remaining)
        except ValidationError as error:
            found = explained(error, model)
        else:
            return faults
        faults += [fault for fault in found if not left_out & {*_WORDS.findall(fault.message), *fault.place[:1]}]
        keys = {str(fault.place[0]) for fault in found if fault.place}
        if not keys & remaining.keys():
            return faults
        left_out |= keys
        remaining = {key: value for key, value in remaining.items() if key not in keys}


def _merge(
    workspace: Workspace, pipeline_name: str, step: Step, spec: TechniqueSpec, parameters: Mapping[str, Any] | None
) -> _Merged:
    values = _Values(run_parameters(workspace, pipeline_name, parameters or {}), complete=parameters is not None)
    layered = layers(workspace, pipeline_name, step, spec)
    merged = _Merged({}, {}, layered[-1])
    for layer in layered:
        for key, value in layer.config.items():
            filled = _fill(value, values, (*layer.at, key))
            if key == "provider" and isinstance(filled, str) and references_of_kind("parameter", value):
                filled = ArgumentText(filled)
            if filled is not _ABSENT:
                merged.config[key], merged.origin[key] = filled, layer
    return merged


def _written_at(merged: _Merged, place: Location) -> Location:
    layer = merged.origin.get(str(place[0]), merged.own) if place else merged.own
    return (*layer.at, *place)


def _argument(merged: _Merged, place: Location) -> Location | None:
    """The parameter that brought the value at `place`, with what is left of the place inside its value."""
    layer = merged.origin.get(str(place[0])) if place else None
    value: Any = layer.config if layer is not None else None
    for depth, part in enumerate(place):
        value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, str):
            named = next(iter(references_of_kind("parameter", value)), None)
            return (named.name, *place[depth + 1 :]) if named is not None else None
    return None


def _meant(merged: _Merged, fault: Fault) -> list[str]:
    """The parameters that brought a setting which the fault is about: at its place, or named in its message."""
    about = {*_WORDS.findall(fault.message), *map(str, fault.place[:1])}
    keys = [key for key in merged.origin if key in about]
    texts = [text for key in keys for _, text in texts_in({key: merged.origin[key].config[key]})]
    return list(dict.fromkeys(named.name for text in texts for named in references_of_kind("parameter", text)))


def _sentence(fault: Fault) -> str:
    return f"{format_path(fault.place)} {fault.message}" if fault.place else fault.message


def without_parameters(config: Mapping[str, Any], at: Location) -> dict[str, Any]:
    """`config` as it is before a run: what a parameter is to bring is left out."""
    before = _Values({}, complete=False)
    filled = {key: _fill(value, before, (*at, key)) for key, value in config.items()}
    return {key: value for key, value in filled.items() if value is not _ABSENT}


def _fill(value: Any, values: _Values, at: Location) -> Any:
    """`value` with parameters in place; `_ABSENT` when it is a reference to one that has no value."""
    if isinstance(value, str):
        return _fill_text(value, values, at) if "${" in value else value
    if isinstance(value, Mapping):
        filled = {key: _fill(inner, values, (*at, key)) for key, inner in value.items()}
        return {key: inner for key, inner in filled.items() if inner is not _ABSENT}
    if isinstance(value, list):
        items = [_fill(inner, values, (*at, index)) for index, inner in enumerate(value)]
        return [item for item in items if item is not _ABSENT]
    return value


def _fill_text(text: str, values: _Values, at: Location) -> Any:
    found = references_of_kind("parameter", text)
    if not found:
        return unescape(text) if "$${" in text else text
    if len(found) == 1 and (found[0].start, found[0].end) == (0, len(text)):
        given = values.given.get(found[0].name)
        if given is None and found[0].default is not None:
            return scalar(found[0].default)
        return _ABSENT if given is None else given
    filled, end = "", 0
    for reference in found:
        filled += unescape(text[end : reference.start]) + _inserted(reference, values, at)
        end = reference.end
    return filled + unescape(text[end:])


def _inserted(reference: Reference, values: _Values, at: Location) -> str:
    """What stands for a reference that is part of a text."""
    given = values.given.get(reference.name)
    if given is not None:
        return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    if reference.default is not None:
        return reference.default
    if values.complete:
        message = f"is required here: {format_path(at)} is made from it"
        raise ArgumentsInvalid([problem_at((reference.name,), message)])
    return reference.text


def latency_buckets(workspace: Workspace) -> tuple[float, ...]:
    """Upper edges, in seconds, of the latency histograms: 1 ms to 30 s, and each latency target, so that the share of
    calls within a target is exact."""
    indicators = (indicator_of(kpi) for kpi in workspace.kpis)
    targets = {found.target for found in indicators if isinstance(found.measure, Percentile)}
    return tuple(sorted({*LATENCY_BUCKETS, *targets}))
