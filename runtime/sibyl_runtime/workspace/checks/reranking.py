"""Checks of reranking: its models are known before any question comes, and one that is asked can answer."""

from __future__ import annotations

from collections.abc import Iterator

from sibyl_runtime.workspace.checks.context import Context, Finding
from sibyl_runtime.workspace.errors import ArgumentsInvalid, WorkspaceInvalid
from sibyl_runtime.workspace.meaning import layers, step_config
from sibyl_runtime.workspace.pipelines import Step
from sibyl_runtime.workspace.providers import DEFAULT_NAMES
from sibyl_runtime.workspace.references import references_of_kind
from sibyl_runtime.workspace.reranking import RERANKING, reranking_steps, setting_at
from sibyl_runtime.workspace.step_configs import RerankingConfig
from sibyl_runtime.workspace.techniques import TECHNIQUES

FIXED = ("subtechnique", "model", "backend", "device", "provider")


def reranking_is_fixed_at_the_start(context: Context) -> Iterator[Finding]:
    """Models are opened when the runtime starts, so no parameter of a call may choose one."""
    for pipeline, step in reranking_steps(context.workspace):
        for layer in layers(context.workspace, pipeline, step, TECHNIQUES[RERANKING]):
            for key in FIXED:
                written = layer.config.get(key)
                if isinstance(written, str) and references_of_kind("parameter", written):
                    yield Finding(
                        context.as_written((*layer.at, key)),
                        "is fixed when the runtime starts, no parameter can choose it; write the value, or write a "
                        "step for each value and give them conditions",
                    )


def reranking_can_ask_its_language_model(context: Context) -> Iterator[Finding]:
    """`subtechnique: llm` needs a language model that is clear, and that does as it is told."""
    providers = context.workspace.providers.llm
    for pipeline, step in reranking_steps(context.workspace):
        config = _settings(context, pipeline, step)
        if config is None or config.subtechnique != "llm":
            continue
        if config.provider is None and len(providers) > 1 and not any(name in providers for name in DEFAULT_NAMES):
            yield Finding(
                ("providers", "llm"),
                f'holds {", ".join(sorted(providers))}, and step "{step.name}" of pipeline "{pipeline}" names none; '
                "call one of them default, or give the step a provider",
            )
            continue
        default, model = context.workspace.default_llm
        name = config.provider or default
        asked = providers.get(name, model if config.provider is None else None)
        if asked is not None and asked.kind == "extractive":
            key = "subtechnique" if config.provider is None else "provider"
            yield Finding(
                context.as_written(setting_at(context.workspace, pipeline, step, key)),
                f'"llm" asks a language model for the order, and "{name}" is extractive, which cannot give one; name '
                "one of kind openai in providers.llm, or set subtechnique: cross_encoder, bm25, fusion or diversity",
            )


def a_cross_encoder_is_opened_in_one_way(context: Context) -> Iterator[Finding]:
    """A model is opened once, whatever the number of steps that name it."""
    first: dict[str, tuple[str, RerankingConfig]] = {}
    for pipeline, step in reranking_steps(context.workspace):
        config = _settings(context, pipeline, step)
        if config is None or config.subtechnique != "cross_encoder":
            continue
        where, other = first.setdefault(config.model, (f'step "{step.name}" of pipeline "{pipeline}"', config))
        for key in ("backend", "device"):
            found, wanted = getattr(config, key), getattr(other, key)
            if found != wanted:
                yield Finding(
                    context.as_written(setting_at(context.workspace, pipeline, step, key)),
                    f'is "{found}", and {where} opens the same model with "{wanted}"; a model is opened once: write '
                    "the same in both, best under shops.rag.techniques.reranking",
                )


def _settings(context: Context, pipeline: str, step: Step) -> RerankingConfig | None:
    """The settings before a run; None for those that do not fit, which the check of steps reports."""
    try:
        config = step_config(context.workspace, pipeline, step, None)
    except (ArgumentsInvalid, WorkspaceInvalid):
        return None
    return config if isinstance(config, RerankingConfig) else None
