"""Checks of groups of parallel steps: nothing in a group may wait for, or be mistaken for, another part of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from sibyl_runtime.workspace.checks.context import Context, Finding, UsedStep, uses
from sibyl_runtime.workspace.checks.failures import LAZY, STORING
from sibyl_runtime.workspace.pipelines import FUSED, Step
from sibyl_runtime.workspace.techniques import TECHNIQUES, TechniqueSpec

_READS: Mapping[str, frozenset[str]] = {
    "rag.retrieval": frozenset({"queries"}),
    "rag.reranking": frozenset({"chunks"}),
    "rag.augmentation": frozenset({"chunks"}),
    "ai_generation.generation": frozenset({"chunks"}),
}
"""What techniques take from whichever step made it last."""

_TAKEN_FROM_THE_LAST = ("chunks", "queries", "answer", "complexity")
"""Results of which a later step, or the caller, takes the last one that was made."""


def gathered_results(steps: Sequence[Step]) -> dict[str, TechniqueSpec | None]:
    """What groups among `steps` gather, by name, as what makes it: searches fused look like one search."""
    groups = [step.parallel for step in steps if step.parallel is not None]
    return {group.gather: TECHNIQUES[FUSED] for group in groups if group.fuses}


def groups_can_run_side_by_side(context: Context) -> Iterator[Finding]:
    """No step of a group reads what another one makes, and no two of them make the same, searches aside."""
    for name, pipeline in context.workspace.pipelines.items():
        groups: dict[int, list[UsedStep]] = {}
        for used in uses(name, pipeline):
            if used.within:
                groups.setdefault(used.index, []).append(used)
        for members in groups.values():
            yield from _batches(members)
            yield from _reads(members)
            yield from _same_results(members)


def _batches(members: Sequence[UsedStep]) -> Iterator[Finding]:
    for used in members:
        if used.step.use in LAZY or used.step.use == STORING:
            yield Finding(
                (*used.at, "use"),
                f"{used.step.use} hands documents on in batches and is not for a group; put it before or after the "
                "group",
            )


def _reads(members: Sequence[UsedStep]) -> Iterator[Finding]:
    for used in members:
        other = next((one for one in members if _reads_of(used, one)), None)
        if other is not None:
            yield Finding(
                (*used.at, "use"),
                f'reads the {min(_reads_of(used, other))} of step "{other.step.name}", which runs at the same time; '
                f'put "{other.step.name}" before the group, or this step after it',
            )


def _same_results(members: Sequence[UsedStep]) -> Iterator[Finding]:
    for one, other in combinations(members, 2):
        both = [result for result in _TAKEN_FROM_THE_LAST if result in _made(one) & _made(other)]
        told = _reads_of(one, other) or _reads_of(other, one)
        if both and not told and not one.step.use == other.step.use == FUSED:
            yield Finding(
                other.at,
                f'steps "{one.step.name}" and "{other.step.name}" of the group both make {both[0]}, and nothing says '
                "which counts; put one of them after the group, or remove it",
            )


def _reads_of(used: UsedStep, other: UsedStep) -> frozenset[str]:
    """What a step takes of what `other` makes; two of one technique are told as making the same."""
    if used.step.use == other.step.use:
        return frozenset()
    return _READS.get(used.step.use, frozenset()) & _made(other)


def _made(used: UsedStep) -> frozenset[str]:
    return frozenset(used.spec.results) if used.spec is not None and used.step.use not in LAZY else frozenset()


def gathered_names_have_a_meaning(context: Context) -> Iterator[Finding]:
    """`gather` names the fused chunks of several searches, and nothing else."""
    for name, pipeline in context.workspace.pipelines.items():
        taken = {step.name: f'step "{step.name}"' for step in pipeline.all_steps}
        for index, step in enumerate(pipeline.steps):
            group, at = step.parallel, ("pipelines", name, "steps", index, "parallel", "gather")
            if group is not None and not group.fuses and "gather" in group.model_fields_set:
                yield Finding(
                    at, f"has no effect: only the chunks of two or more {FUSED} of the group are gathered; remove it"
                )
            elif group is not None and group.fuses:
                if group.gather in taken:
                    yield Finding(
                        at, f'"{group.gather}" is also the name of {taken[group.gather]}; give one another name'
                    )
                taken.setdefault(group.gather, f"what group {index} gathers")
