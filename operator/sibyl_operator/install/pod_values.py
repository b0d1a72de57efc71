"""The parts of the values that are Kubernetes' own objects, with the fields of core/v1 and networking.k8s.io/v1."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sibyl_operator.install.base import NamespaceName, Quantity, Values

Effect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
Weight = Annotated[int, Field(ge=1, le=100)]


class LocalReference(Values):
    """An object in the namespace of the installation."""

    name: str = Field(min_length=1)


class KeyReference(Values):
    """One key of a Secret or ConfigMap."""

    name: str = Field(min_length=1)
    key: str = Field(min_length=1)
    optional: bool | None = None


class FieldReference(Values):
    """A field of the pod itself."""

    field_path: str = Field(min_length=1)


class VariableSource(Values):
    """Where a variable comes from."""

    secret_key_ref: KeyReference | None = None
    config_map_key_ref: KeyReference | None = None
    field_ref: FieldReference | None = None


class Variable(Values):
    """A variable of the operator's container."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    value: str | None = None
    value_from: VariableSource | None = None


class Amounts(Values):
    """CPU and memory."""

    cpu: Quantity | int | None = None
    memory: Quantity | int | None = None


class Toleration(Values):
    """A taint that the pods tolerate."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] | None = None
    value: str | None = None
    effect: Effect | None = None
    toleration_seconds: int | None = None


class Requirement(Values):
    """One expression of a selector."""

    key: str = Field(min_length=1)
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: list[str] | None = None


class LabelSelector(Values):
    """What finds objects by their labels."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[Requirement] | None = None


class SpreadConstraint(Values):
    """How the pods are spread; without a labelSelector it is that of the operator's pods."""

    max_skew: int = Field(ge=1)
    topology_key: str = Field(min_length=1)
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    min_domains: int | None = None
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    node_taints_policy: Literal["Honor", "Ignore"] | None = None
    match_label_keys: list[str] | None = None
    label_selector: LabelSelector | None = None


class NodeSelectorTerm(Values):
    """Nodes by their labels and fields."""

    match_expressions: list[Requirement] | None = None
    match_fields: list[Requirement] | None = None


class NodeSelector(Values):
    """Any of these terms."""

    node_selector_terms: list[NodeSelectorTerm]


class PreferredNodes(Values):
    """Nodes that are liked better."""

    weight: Weight
    preference: NodeSelectorTerm


class NodeAffinity(Values):
    """On which nodes."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: list[PreferredNodes] | None = None


class PodTerm(Values):
    """Near which pods, or far from which."""

    topology_key: str = Field(min_length=1)
    label_selector: LabelSelector  # without one, the API server says, no pod matches
    namespaces: list[NamespaceName] | None = None
    namespace_selector: LabelSelector | None = None
    match_label_keys: list[str] | None = None
    mismatch_label_keys: list[str] | None = None


class PreferredPods(Values):
    """Pods that are liked better."""

    weight: Weight
    pod_affinity_term: PodTerm


class PodAffinity(Values):
    """Near, or far from, which pods."""

    required_during_scheduling_ignored_during_execution: list[PodTerm] | None = None
    preferred_during_scheduling_ignored_during_execution: list[PreferredPods] | None = None


class Affinity(Values):
    """Where the pods go."""

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class AddressBlock(Values):
    """Addresses of a network policy."""

    cidr: str = Field(min_length=1)
    except_: list[str] | None = Field(None, alias="except")


class Peer(Values):
    """The other side of a connection."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: AddressBlock | None = None


class PolicyPort(Values):
    """A port, or a range of them."""

    port: int | str | None = None
    end_port: int | None = None
    protocol: Literal["TCP", "UDP", "SCTP"] | None = None


class EgressRule(Values):
    """Connections that the operator may open."""

    to: list[Peer] | None = None
    ports: list[PolicyPort] | None = None
