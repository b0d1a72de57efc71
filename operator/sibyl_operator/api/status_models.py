"""`SibylWorkspace.status`: what the CRD's status schema is generated from.

Latencies and rates are text, rounded, so that a column reads well and a quiet service causes no writes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from sibyl_operator.api.base import ApiModel
from sibyl_operator.api.fields import map_by
from sibyl_runtime.workspace.observability import MOST_KPIS

Short = Annotated[str, StringConstraints(max_length=64)]
Address = Annotated[str, StringConstraints(max_length=512)]
ReasonText = Annotated[str, StringConstraints(max_length=256, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
TypeText = Annotated[str, StringConstraints(max_length=128, pattern=r"^[A-Za-z][A-Za-z0-9.]*$")]
MessageText = Annotated[str, StringConstraints(max_length=4096)]
Generation = Annotated[int, Field(ge=0)]


def timestamp(description: str) -> Any:
    """A moment in RFC 3339."""
    return Field(description=description, json_schema_extra={"format": "date-time"})


class ConditionStatus(ApiModel):
    """One observation, in the shape of metav1.Condition."""

    type: TypeText = Field(description="What is observed.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: ReasonText = Field(description="Why, in one word for programs.")
    message: MessageText = Field(description="Why, for people, and what to do next.")
    last_transition_time: str = timestamp("When status last changed.")
    observed_generation: Generation = Field(description="The generation of the spec that was judged.")


class EndpointsStatus(ApiModel):
    """Where the service is reached, inside the cluster."""

    http: Address = Field(description="Base of the HTTP API.")
    mcp: Address | None = Field(None, description="Base of the tools.")
    metrics: Address | None = Field(None, description="Metrics of one pod, chosen by the Service.")


class ReplicasStatus(ApiModel):
    """Runtime pods."""

    ready: int = Field(ge=0, description="Pods that are ready.")
    desired: int = Field(ge=0, description="Pods that there should be.")
    text: Short = Field(description="ready/desired.")


class TargetStatus(ApiModel):
    """A KPI of the document over all pods, in the unit of its target."""

    name: Short = Field(description="Name of the KPI.")
    target: Short = Field(description="What it should be.")
    value: Short | None = Field(None, description="What it was over its window; absent while nothing was measured.")
    met: bool | None = Field(None, description="Whether it keeps its target; absent while nothing was measured.")


class KpiStatus(ApiModel):
    """Indicators over the last window, summed over the pods."""

    p50: Short | None = Field(None, description="Median latency of tool calls.")
    p95: Short | None = Field(None, description="95th percentile of the latency of tool calls.")
    p99: Short | None = Field(None, description="99th percentile of the latency of tool calls.")
    requests_per_second: Short = Field(description="Tool calls per second.")
    cache_hit_percent: int | None = Field(None, ge=0, le=100, description="Answers taken from the cache, percent.")
    error_percent: int | None = Field(None, ge=0, le=100, description="Tool calls that failed, percent.")
    pods_scraped: Short = Field(description="Pods that were measured, of those that run.")
    window_seconds: int = Field(ge=0, description="Time that the figures cover, in seconds.")
    targets: tuple[TargetStatus, ...] = map_by(
        "name", most=MOST_KPIS, description="The KPIs of the document against their targets."
    )


class DatabaseStatus(ApiModel):
    """What the database said it is."""

    version: Short | None = Field(None, description="Version of PostgreSQL.")
    vector_version: Short | None = Field(None, description="Version of the pgvector extension.")
    max_connections: int | None = Field(None, ge=0, description="Connections that the server allows.")
    read_replicas: Short | None = Field(
        None, description="Read replicas that receive what is written, of those wanted."
    )


class CacheStatus(ApiModel):
    """The Redis that the operator runs."""

    endpoint: Address = Field(description="host:port, inside the cluster; the password is in the Secret beside it.")
    max_memory: Short = Field(description="What it holds before it drops the answers that are asked for least.")


class SibylWorkspaceStatus(ApiModel):
    """What the operator last saw."""

    observed_generation: Generation = Field(0, description="The generation of the spec that this status is about.")
    conditions: tuple[ConditionStatus, ...] = map_by("type", most=16, description="What is observed, one by one.")
    endpoints: EndpointsStatus | None = Field(None, description="Where the service is reached.")
    effective_config_hash: Short | None = Field(
        None, description="Hash of the configuration that the pods should have loaded."
    )
    replicas: ReplicasStatus | None = Field(None, description="Runtime pods.")
    kpis: KpiStatus | None = Field(None, description="Measured indicators.")
    database: DatabaseStatus | None = Field(None, description="The database.")
    cache: CacheStatus | None = Field(None, description="The Builtin cache.")
