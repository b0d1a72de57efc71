"""The `observability.tracing` section: spans of tool calls, and where they go."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from sibyl_runtime.workspace.base import StrictModel, choice, fail_field
from sibyl_runtime.workspace.text import Text


class Sampling(StrictModel):
    """Which calls are traced. A caller that sends a `traceparent` has decided for its call."""

    type: Literal["always_on", "probabilistic"] = Field(
        "probabilistic", description="Every call, or a share of them, drawn by the id of the trace."
    )
    rate: float = Field(0.1, ge=0, le=1, description="The share, 0 to 1.")

    @model_validator(mode="after")
    def _rate_belongs(self) -> Self:
        if self.type == "always_on" and "rate" in self.model_fields_set:
            fail_field("rate", "has no effect with type always_on; remove it, or set type to probabilistic")
        return self


class Tracing(StrictModel):
    """Spans of tool calls by OpenTelemetry, which the extra `otel` brings. On as soon as the section is written."""

    enabled: bool = Field(True, description="Record spans and send them.")
    exporter: Literal["otlp", "jaeger", "zipkin"] = choice(
        "otlp",
        "How they are sent: OTLP over HTTP, which Jaeger takes too.",
        planned_values=("jaeger", "zipkin"),
    )
    endpoint: Text | None = Field(
        None, description="Collector, such as http://otel-collector:4318; none: OTEL_EXPORTER_OTLP_ENDPOINT."
    )
    sampling: Sampling | None = Field(None, description="Which calls; none: OTEL_TRACES_SAMPLER, else every call.")
    capture_content: bool = Field(
        False, description="Put prompts and answers of language models into their spans: text of users and documents."
    )
