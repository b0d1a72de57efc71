"""Checks of how answers are made: an object that fits a schema needs a model that writes."""

from __future__ import annotations

from collections.abc import Iterator

from sibyl_runtime.workspace.checks.context import Context, Finding
from sibyl_runtime.workspace.checks.providers import written_provider
from sibyl_runtime.workspace.errors import ArgumentsInvalid, WorkspaceInvalid
from sibyl_runtime.workspace.meaning import step_config
from sibyl_runtime.workspace.provider_names import PROVIDER_KINDS
from sibyl_runtime.workspace.step_configs import GenerationConfig


def structured_answers_have_a_model(context: Context) -> Iterator[Finding]:
    """Extractive answers quote; they cannot fill in a schema."""
    default, known = context.workspace.default_llm[0], context.workspace.language_models
    for used in context.steps():
        if PROVIDER_KINDS.get(used.step.use) != "llm":
            continue
        try:
            config = step_config(context.workspace, used.pipeline, used.step, None)
        except (ArgumentsInvalid, WorkspaceInvalid):  # told by the checks of settings and of parameters
            continue
        if not isinstance(config, GenerationConfig) or config.subtechnique != "structured":
            continue
        model = known.get(config.provider or default)
        if model is not None and model.kind == "extractive":
            at = written_provider(context, used)[1] if config.provider else (*used.at, "config", "subtechnique")
            yield Finding(
                at,
                "a structured answer is written by a language model, and extractive answers are quoted; give the step "
                "a provider of kind openai",
            )
