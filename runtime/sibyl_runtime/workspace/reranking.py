"""What reranking steps need before any question comes: the models to open, and where the document names them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sibyl_runtime.workspace.document import Workspace
from sibyl_runtime.workspace.errors import Location
from sibyl_runtime.workspace.meaning import layers, step_config
from sibyl_runtime.workspace.pipelines import Step
from sibyl_runtime.workspace.step_configs import RerankingConfig
from sibyl_runtime.workspace.techniques import TECHNIQUES

RERANKING = "rag.reranking"


def reranking_steps(workspace: Workspace) -> Iterator[tuple[str, Step]]:
    """Every step that reranks, with the name of its pipeline."""
    for name, pipeline in workspace.effective_pipelines.items():
        yield from ((name, step) for step in pipeline.all_steps if step.use == RERANKING)


def setting_at(workspace: Workspace, pipeline: str, step: Step, key: str) -> Location:
    """Where the setting `key` of a step that reranks is written; its place in the step when it is not."""
    layered = layers(workspace, pipeline, step, TECHNIQUES[RERANKING])
    winner = next((layer for layer in reversed(layered) if key in layer.config), layered[-1])
    return (*winner.at, key)


@dataclass(frozen=True)
class CrossEncoderUse:
    """`at` is the first place that names a model. A model is opened once, so all its steps have the same of the rest,
    which a check sees to."""

    at: Location
    backend: Literal["onnx", "torch"]
    device: str


def cross_encoders(workspace: Workspace) -> dict[str, CrossEncoderUse]:
    """The models that steps of `subtechnique: cross_encoder` name, and how they are opened.

    For a workspace that was checked: it raises as `step_config` does.
    """
    models: dict[str, CrossEncoderUse] = {}
    for pipeline, step in reranking_steps(workspace):
        config = step_config(workspace, pipeline, step, None)
        if isinstance(config, RerankingConfig) and config.subtechnique == "cross_encoder":
            at = setting_at(workspace, pipeline, step, "model")
            models.setdefault(config.model, CrossEncoderUse(at, config.backend, config.device))
    return models
