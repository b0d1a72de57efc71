"""The `observability` section: what is measured, what it should be, and what is logged."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from sibyl_runtime.workspace.base import StrictModel, fail_field, planned
from sibyl_runtime.workspace.errors import number
from sibyl_runtime.workspace.text import Identifier, Text, Window
from sibyl_runtime.workspace.tracing import Tracing

TOOL_DURATION = "sibyl_mcp_tool_duration_seconds"
MOST_KPIS = 32
"""The status of a workspace shows each of them, and has to stay small."""


class Kpi(StrictModel):
    """A figure and what it should be. `target` and `threshold` mean the same: exactly one is written."""

    name: Identifier = Field(description="Name of the figure; a known one needs no metric.")
    metric: Text | None = Field(None, description="Metric, or rate(metric[1m]), that it is read from.")
    target: float | None = Field(None, description="What it should be: seconds, a share, percent, dollars, per second.")
    threshold: float | None = Field(None, description="Another word for target.")
    percentile: float | None = Field(None, description="Which percentile of a duration, between 0 and 1.")
    window: Window | None = Field(None, description="Time over which it is measured, such as 5m, the default.")

    @model_validator(mode="after")
    def _is_sane(self) -> Self:
        if self.target is None and self.threshold is None:
            fail_field("target", "is required; say what the figure should be")
        if self.target is not None and self.threshold is not None:
            fail_field("threshold", "means the same as target; keep one of them")
        if self.value <= 0:
            written = "target" if self.target is not None else "threshold"
            fail_field(written, f"must be above 0, found {number(self.value)}")
        if self.percentile is not None and not 0 < self.percentile < 1:
            meant = (
                f"; write {self.percentile / 100:g} for the {self.percentile:g}th" if 1 < self.percentile < 100 else ""
            )
            fail_field("percentile", f"must be between 0 and 1, both excluded, found {number(self.percentile)}{meant}")
        return self

    @property
    def value(self) -> float:
        """What the figure should be."""
        return self.target if self.target is not None else (self.threshold or 0.0)


DEFAULT_KPIS = (
    Kpi(name="p50_latency", metric=TOOL_DURATION, target=1.0, percentile=0.50),
    Kpi(name="p95_latency", metric=TOOL_DURATION, target=3.0, percentile=0.95),
    Kpi(name="p99_latency", metric=TOOL_DURATION, target=5.0, percentile=0.99),
)


LogLevel = Literal["debug", "info", "warning", "error"]


def _in_lower_case(level: Any) -> Any:
    return level.lower() if isinstance(level, str) else level


class Logging(StrictModel):
    """What the runtime logs."""

    level: Annotated[LogLevel, BeforeValidator(_in_lower_case)] = Field(
        "info", description="Least level that is logged."
    )
    format: Literal["json", "text"] = Field("json", description="One JSON object a line, or text for people.")
    log_requests: bool | None = planned("Log each request.")
    log_responses: bool | None = planned("Log each response.")
    log_errors: bool | None = planned("Log errors.")
    log_slow_requests: bool | None = planned("Log slow requests.")
    slow_request_threshold: float | None = planned("What counts as slow, in seconds.")
    file: Any = planned("Log to a file.")
    console: Any = planned("Log to the console.")
    extra_fields: dict[str, Any] | None = planned("Fields of every line.")
    components: dict[str, Any] | None = planned("Levels by component.")


class Metrics(StrictModel):
    """The metrics endpoint."""

    enabled: bool = Field(True, description="Serve metrics.")
    port: int = Field(9090, ge=1, le=65_535, description="Port of /metrics.")
    custom: list[Any] | None = planned("Metrics of your own.")


class Observability(StrictModel):
    """What is measured and logged."""

    kpis: list[Kpi] = Field(
        [], max_length=MOST_KPIS, description="Figures and targets; none: p50 1 s, p95 3 s, p99 5 s of a tool call."
    )
    logging: Logging = Field(Logging(), description="What is logged.")
    metrics: Metrics = Field(Metrics(), description="The metrics endpoint.")
    tracing: Tracing | None = Field(None, description="Spans of tool calls; none: off.")
    alerting: dict[str, Any] | None = planned("Alerts.")
    health: dict[str, Any] | None = planned("Health endpoints.")
    health_checks: Any = planned("Checks of health.")
    audit_logging: dict[str, Any] | None = planned("A log of who did what.")
    dashboards: Any = planned("Dashboards.")
