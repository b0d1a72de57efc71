"""Checks of what decides which language model answers: templates of `provider`, and `fallback_providers`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sibyl_runtime.workspace.checks.context import Context, Finding, UsedStep
from sibyl_runtime.workspace.checks.providers import written_provider
from sibyl_runtime.workspace.errors import Location, suggestion
from sibyl_runtime.workspace.meaning import layers
from sibyl_runtime.workspace.provider_names import named_providers
from sibyl_runtime.workspace.references import EnvironmentText, references_of_kind
from sibyl_runtime.workspace.step_configs import INSIDE_A_TEMPLATE, QueryClassifierConfig
from sibyl_runtime.workspace.templates import FROM_CLASSIFIER, ChoiceTemplate, Outcome, TemplateInvalid, is_template
from sibyl_runtime.workspace.text import refers_to_environment

GENERATION = "ai_generation.generation"
CLASSIFIER = "infrastructure.query_classifier"


def templates_choose_providers(context: Context) -> Iterator[Finding]:
    """What a template needs is there before its step, and each outcome that can be tried is a provider."""
    seen: set[Location] = set()
    for used in context.steps():
        text, at = written_provider(context, used)
        if used.step.use != GENERATION or not isinstance(text, str) or not is_template(text):
            continue
        if references_of_kind("parameter", text) and at not in seen:
            seen.add(at)
            yield Finding(at, INSIDE_A_TEMPLATE)
        if refers_to_environment(text) or at in seen:
            continue
        try:
            template = ChoiceTemplate.parse(text)
        except TemplateInvalid:  # reported where the settings of the step are checked
            continue
        message = _fault(context, used, template)
        if message is not None and isinstance(text, EnvironmentText):  # which is never shown, nor any part of it
            message = f"the value of {text.reference} holds a template that does not always choose one of providers.llm"
        if message is not None and at not in seen:
            seen.add(at)
            yield Finding(at, message)


def _fault(context: Context, used: UsedStep, template: ChoiceTemplate) -> str | None:
    before = [one for one in context.steps() if one.pipeline == used.pipeline and one.index < used.index]
    classifiers = [one for one in before if one.step.use == CLASSIFIER]
    needed = sorted(template.variables & FROM_CLASSIFIER)
    if needed and not classifiers:
        where = f'pipeline "{used.pipeline}"{context.built_in(used.pipeline)}'
        return f"holds a template that uses {needed[0]}; put a step {CLASSIFIER} before this one in {where}"
    known = named_providers(context.workspace, "llm") or {"default": None}
    for outcome in template.outcomes(_threshold(context, classifiers[-1]) if classifiers else None):
        if outcome.failure is not None:
            return f"holds a template that cannot be evaluated{_when(outcome)}: {outcome.failure}"
        if outcome.chosen not in known:
            chosen = outcome.chosen or ""
            shown = f'"{chosen}"' if chosen else "nothing"
            hint = suggestion(chosen, known)
            return f"holds a template that chooses {shown}{_when(outcome)}; it must choose one of providers.llm{hint}"
    return None


def _threshold(context: Context, classifier: UsedStep) -> float | None:
    """The threshold of a classifier; None where a parameter or the environment brings it."""
    assert classifier.spec is not None
    layered = layers(context.workspace, classifier.pipeline, classifier.step, classifier.spec)
    written = [layer.config["complexity_threshold"] for layer in layered if "complexity_threshold" in layer.config]
    if not written:
        return QueryClassifierConfig().complexity_threshold
    return float(written[-1]) if isinstance(written[-1], int | float) else None


def _when(outcome: Outcome) -> str:
    """The values that were tried, where there are any; a question is shown by its beginning."""
    shown = [f"{name} is {_shown(value)}" for name, value in outcome.values.items()]
    return f" when {' and '.join(shown)}" if shown else ""


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else f'"{str(value)[:40]}"'


def fallback_providers_exist(context: Context) -> Iterator[Finding]:
    """Each of `fallback_providers` must be in the document."""
    known: Sequence[str] = sorted(named_providers(context.workspace, "llm")) or ["default"]
    seen: set[Location] = set()
    for used in context.steps():
        if used.step.use != GENERATION or used.spec is None:
            continue
        for layer in layers(context.workspace, used.pipeline, used.step, used.spec):
            at = context.as_written((*layer.at, "fallback_providers"))
            names = layer.config.get("fallback_providers")
            if at in seen or not isinstance(names, list):
                continue
            seen.add(at)
            for index, name in enumerate(names):
                if isinstance(name, str) and "${" not in name and name not in known:
                    message = f'no provider in providers.llm is called "{name}"{suggestion(name, known)}'
                    yield Finding((*at, index), message)
