"""Runs one pipeline: for each step its condition, its merged configuration, its technique, within the deadline.

The steps of a group run at the same time; each sees what was there before the group.

What a step raises on purpose (a SibylError) reaches the caller as it is. Anything else becomes StepFailed with the
step's place, so that a fault is never anonymous and never taken for an answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import zip_longest
from types import MappingProxyType
from typing import Any, Final

from sibyl_runtime.errors import InvalidParameters, NotFound, SibylError
from sibyl_runtime.pipeline.asking import Ask
from sibyl_runtime.pipeline.context import Fallback, Services, StepContext
from sibyl_runtime.pipeline.deadline import Deadline
from sibyl_runtime.pipeline.failures import Failures
from sibyl_runtime.pipeline.ledger import Progress
from sibyl_runtime.pipeline.listening import Listener
from sibyl_runtime.pipeline.parallel import Branch, in_turn, side_by_side
from sibyl_runtime.pipeline.run import PipelineResult, PipelineRun
from sibyl_runtime.pipeline.timing import Clock, StageRecorder
from sibyl_runtime.techniques import REGISTRY
from sibyl_runtime.techniques.gathering import gathered
from sibyl_runtime.techniques.technique import Technique
from sibyl_runtime.workspace import (
    FUSED,
    ArgumentsInvalid,
    Condition,
    ConditionError,
    NoResult,
    Parallel,
    Pipeline,
    Step,
    StepConfig,
    WorkspaceInvalid,
    depends_on_parameters,
    step_config,
    technique,
)

logger = logging.getLogger("sibyl.pipeline")

ANSWER: Final = "answer"
"""The result whose last one is what a run answers."""

AS_REGISTERED: Final[Mapping[str, Technique]] = MappingProxyType({})


class PipelineEngine:
    """The pipelines of one workspace over one set of services."""

    def __init__(
        self,
        services: Services,
        techniques: Mapping[str, Technique] = REGISTRY,
        *,
        clock: Clock = time.perf_counter,
    ) -> None:
        self._services = services
        self._techniques = techniques
        self._clock = clock
        self._pipelines = services.workspace.effective_pipelines
        self._conditions: dict[str, Condition] = {}
        self._settled: dict[tuple[str, str], StepConfig | None] = {}

    async def run(
        self,
        pipeline: str,
        parameters: Mapping[str, Any],
        *,
        deadline: Deadline,
        progress: Progress | None = None,
        instead: Mapping[str, Technique] = AS_REGISTERED,
        listener: Listener | None = None,
        ask: Ask | None = None,
    ) -> PipelineResult:
        """Run the steps in order. `instead` holds, by id, techniques that stand in for the registered ones this once.

        A `listener` hears stages as they end and the answer as it is made; the run goes at its pace. Steps that call
        tools do it by `ask`.
        A failure ends the run, unless the step or the one after it says otherwise; steps marked `always` still run.
        Raises NotFound for an unknown pipeline, InvalidParameters for a value that does not fit a step,
        DeadlineExceeded naming the stage, StepFailed naming the step, and what the techniques raise.
        """
        started = self._clock()
        plan = self.plan(pipeline)
        run = PipelineRun(
            services=self._services,
            pipeline=pipeline,
            parameters={**_defaults(plan), **parameters},
            deadline=deadline.capped(plan.timeout_s),
            progress=progress,
            recorder=StageRecorder(pipeline, self._clock),
            listener=listener,
            ask=ask,
        )
        try:
            await self._steps(run, plan.steps, instead)
            await run.settle()
        finally:
            for fallback in run.fallbacks:
                self.fell_back(pipeline, fallback)
            await run.close_streams()
        return run.result(self._clock() - started)

    def fell_back(self, pipeline: str, fallback: Fallback) -> None:
        """A step of a run did without something that failed; called whatever became of the run. Does nothing here."""

    def plan(self, pipeline: str) -> Pipeline:
        """The pipeline of this name. Raises NotFound."""
        plan = self._pipelines.get(pipeline)
        if plan is None:
            known = ", ".join(sorted(self._pipelines))
            raise NotFound(f"there is no pipeline `{pipeline}`; known: {known}", details={"pipeline": pipeline})
        return plan

    async def _steps(self, run: PipelineRun, steps: Sequence[Step], instead: Mapping[str, Technique]) -> None:
        """Each step in turn. Raises the first failure that no step mends, after the steps that run always."""
        failures = Failures()
        broken: list[StepContext] = []
        for position, (step, following) in enumerate(zip_longest(steps, steps[1:])):
            later = steps[position + 1 :]
            if step.parallel is not None:
                broken = await self._group(run, step.parallel, failures, later, instead)
                continue
            if not failures.allow(step):
                if failures.ending is None:
                    run.recorder.skip(step.name, self._worker(run, step, instead).stage)
                continue
            context = run.context(step.name, step.timeout_s)
            try:
                ran = await self._step(run, context, step, later, instead)
            except SibylError as error:
                broken = [context] if _failed(run, context, step, following, error, failures) else []
            else:
                if ran:
                    failures.passed()
                    for failed in broken if step.mends else ():
                        failed.replaced_by(step.name)
                    broken = []
                else:
                    failures.not_wanted(step)
        if failures.ending is not None:
            raise failures.ending

    async def _group(
        self,
        run: PipelineRun,
        group: Parallel,
        failures: Failures,
        later: Sequence[Step],
        instead: Mapping[str, Technique],
    ) -> list[StepContext]:
        """The steps of a group at the same time; those that failed and might. What they return is kept in the order of
        the document."""
        deadline = run.deadline.capped(group.timeout_s, "raise timeout_s of the group of parallel steps")
        listener = in_turn(run.listener)
        steps = [step for step in group.steps if failures.allow(step)]
        runs = [run.branch(deadline, listener) for _ in steps]
        contexts = [branch.context(step.name, step.timeout_s) for step, branch in zip(steps, runs, strict=True)]
        branches = [
            Branch(
                partial(self._step, branch, context, step, later, instead),
                breaks_off=partial(_breaks_off, group, step),
                endures=step.always,
            )
            for step, branch, context in zip(steps, runs, contexts, strict=True)
        ]
        try:
            failed = await side_by_side(branches)
        finally:
            for branch in runs:
                run.recorder.join(branch.recorder)
        for step, branch in zip(steps, runs, strict=True):
            run.results |= {step.name: branch.results[step.name]} if step.name in branch.results else {}
        searches = [run.results[step.name] for step in steps if step.use == FUSED and step.name in run.results]
        if group.fuses and searches:
            run.results[group.gather] = gathered(searches)
        following = later[0] if later else None
        broken = []
        for position, error in failed:
            error.details.setdefault("step", steps[position].name)
            if _failed(run, contexts[position], steps[position], following, error, failures):
                broken.append(contexts[position])
        if not failed:
            failures.passed()
        return broken

    def _worker(self, run: PipelineRun, step: Step, instead: Mapping[str, Technique]) -> Technique:
        named = technique(step.use).id
        worker = instead.get(named) or self._techniques.get(named)
        if worker is None:
            raise run.context(step.name).failed(f"uses `{step.use}`, which is not available in this version")
        return worker

    async def _step(
        self,
        run: PipelineRun,
        context: StepContext,
        step: Step,
        later: Sequence[Step],
        instead: Mapping[str, Technique],
    ) -> bool:
        """Run a step; False when its condition is false."""
        worker = self._worker(run, step, instead)
        try:
            wanted = self._wanted(step, context)
        except NoResult as error:
            context.note(reason=str(error))
            wanted = False
        except ConditionError as error:
            raise context.failed(f"has a `condition` that cannot be evaluated: {error}") from error
        if not wanted:
            run.recorder.skip(step.name, worker.stage)
            return False
        try:
            config = self._config(run, step, worker)
        except ArgumentsInvalid as error:
            raise invalid_arguments(error) from error
        except WorkspaceInvalid as error:
            raise context.failed("has settings that do not fit: " + "; ".join(map(str, error.problems))) from error
        if run.listener is not None and self._answers_last(step, later, context):
            context.listener = run.listener
        await run.finish(context, worker.stage, lambda: worker.run(context, config))
        await run.tell_stages(context)
        return True

    def _config(self, run: PipelineRun, step: Step, worker: Technique) -> StepConfig:
        """The settings of a step in this run, worked out once where no parameter can change them."""
        workspace, place = self._services.workspace, (run.pipeline, step.name)
        if place not in self._settled:
            varies = depends_on_parameters(workspace, run.pipeline, step)
            self._settled[place] = None if varies else step_config(workspace, run.pipeline, step, {})
        settled = self._settled[place]
        if settled is not None:
            return settled
        parameters = {name: value for name, value in run.parameters.items() if name not in worker.merges}
        return step_config(workspace, run.pipeline, step, parameters)

    def _answers_last(self, step: Step, later: Sequence[Step], context: StepContext) -> bool:
        """Whether what this step answers is what the run will answer, as far as can be known before it runs."""
        if ANSWER not in technique(step.use).results:
            return False
        for other in (use for entry in later for use in entry.uses):
            if ANSWER not in technique(other.use).results:
                continue
            try:
                if self._wanted(other, context):
                    return False
            except ConditionError:  # it is about what has not run yet
                return False
        return True

    def _wanted(self, step: Step, context: StepContext) -> bool:
        """Whether the condition holds. Raises ConditionError."""
        if step.condition is None:
            return True
        condition = self._conditions.get(step.condition)
        if condition is None:
            condition = self._conditions[step.condition] = Condition.parse(step.condition)
        return condition.evaluate(context.results, context.parameters)


def _failed(
    run: PipelineRun,
    context: StepContext,
    step: Step,
    following: Step | None,
    error: SibylError,
    failures: Failures,
) -> bool:
    """Note a failure; whether the run goes on without the step."""
    goes_on = failures.failed(step, following, error, in_time=not run.deadline.passed)
    if goes_on:
        context.fell_back(error)
    elif failures.ending is not error:
        logger.warning("after a failure of pipeline %s: %s", run.pipeline, error)
    return goes_on


def _breaks_off(group: Parallel, step: Step, error: SibylError) -> bool:
    """Whether a failure of a step in a group breaks off the others: not one that the step itself allows."""
    return group.fail_fast and (step.on_error != "continue" or isinstance(error, InvalidParameters))


def _defaults(pipeline: Pipeline) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in pipeline.parameters.items() if parameter.has_default}


def invalid_arguments(error: ArgumentsInvalid) -> InvalidParameters:
    """What the contract found wrong with the arguments of a call, as the error that a client sees."""
    problems = [{"parameter": problem.path, "message": problem.message} for problem in error.problems]
    return InvalidParameters(str(error), details={"problems": problems})
