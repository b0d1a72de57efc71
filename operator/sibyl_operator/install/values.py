"""The values of the Helm chart: `values.yaml`, `values.schema.json` and the documentation come from here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from sibyl_operator.install.base import Duration, NamespaceName, Port, Seconds, Values
from sibyl_operator.install.pod_values import (
    Affinity,
    Amounts,
    EgressRule,
    LocalReference,
    Peer,
    SpreadConstraint,
    Toleration,
    Variable,
)

ImageText = Annotated[str, StringConstraints(pattern=r"^\S*$")]


class Image(Values):
    """The image of the operator."""

    registry: str = Field("", description="Registry before the repository, like registry.example.com; empty for none.")
    repository: str = Field("sibyl-operator", min_length=1, description="Repository of the image.")
    tag: str = Field("", description="Tag of the image; empty for the chart's appVersion.")
    digest: str = Field(
        "", pattern=r"^(sha256:[0-9a-f]{64})?$", description="Digest of the image, like sha256:...; wins over the tag."
    )
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When the image is pulled."
    )


class CustomResources(Values):
    """The CustomResourceDefinition. It belongs to the whole cluster: installing it takes an administrator."""

    enabled: bool = Field(True, description="Install the CRD, and upgrade it with the chart.")
    keep: bool = Field(True, description="Leave the CRD, and with it every workspace, when the chart is uninstalled.")


class Watch(Values):
    """Which workspaces the operator serves."""

    namespaces: list[NamespaceName] = Field(
        [],
        description=(
            "Namespaces to serve. Empty: all, by a ClusterRole. With names: a Role in each of them, and no "
            "cluster-wide right at all. The namespaces must exist."
        ),
    )


class Settings(Values):
    """Settings of the operator process, each passed as SIBYL_OPERATOR_<NAME>. Durations are in seconds."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    log_format: Literal["json", "text"] = Field("json", description="Form of the log.")
    workers: int = Field(16, ge=1, le=256, description="Workspaces that are reconciled at the same time.")
    request_timeout: Seconds = Field(30, description="How long one request to the API server may take.")
    lease_duration: Seconds = Field(15, description="A Lease not renewed for so long may be taken over.")
    renew_deadline: Seconds = Field(
        10, description="A leader that could not renew for so long ends; below leaseDuration."
    )
    retry_period: Seconds = Field(2, description="Pause between tries to take or renew the Lease; below renewDeadline.")
    shutdown_grace: Seconds = Field(20, description="How long work under way may go on after a signal to stop.")
    waiting_interval: Seconds = Field(3, description="Pause between looks at a workspace that is rolling out.")
    scrape_interval: Seconds = Field(15, description="Pause between looks at a workspace that is ready.")
    blocked_interval: Seconds = Field(60, description="Pause between looks at a workspace that somebody must change.")
    resync_interval: Seconds = Field(600, description="Pause between looks at every workspace.")
    reconcile_deadline: Seconds = Field(120, description="How long one pass over a workspace may take.")
    kpi_window: Seconds = Field(
        300, description="The indicators cover so much of the past; at least two scrape intervals."
    )
    runtime_image: ImageText = Field(
        "", description="Image of runtime pods whose workspace names none; empty for that of the operator's version."
    )
    database_image: ImageText = Field(
        "", description="Image of Builtin databases whose workspace names none; empty for pgvector's public one."
    )
    cache_image: ImageText = Field(
        "", description="Image of Builtin caches whose workspace names none; empty for the public one of Redis."
    )


class ServiceAccountValues(Values):
    """The identity of the operator."""

    create: bool = Field(True, description="Make the ServiceAccount.")
    name: str = Field("", description="Its name; empty for the full name of the release, or default without create.")
    annotations: dict[str, str] = Field({}, description="Annotations of the ServiceAccount.")


class Rbac(Values):
    """The rights of the operator: exactly the verbs that it uses, each with its reason beside it."""

    create: bool = Field(True, description="Make Roles, ClusterRole and bindings.")


class DisruptionBudget(Values):
    """How many operator pods a drain may take away at once."""

    enabled: bool = Field(True, description="Make a PodDisruptionBudget; none is made for a single replica.")
    max_unavailable: int = Field(1, ge=1, description="Pods that may be missing at once.")


class ServiceValues(Values):
    """The Service in front of /metrics, /healthz and /readyz."""

    port: Port = Field(8080, description="Port of the Service; the pods listen on 8080.")
    annotations: dict[str, str] = Field({}, description="Annotations of the Service.")


class ServiceMonitor(Values):
    """The ServiceMonitor of the Prometheus operator. Without it the pods carry prometheus.io annotations instead."""

    mode: Literal["Auto", "Always", "Never"] = Field(
        "Auto", description="Auto: when the cluster knows the kind. Always: also where the chart is only rendered."
    )
    labels: dict[str, str] = Field({}, description="Labels by which Prometheus finds it, like release: prometheus.")
    interval: Duration = Field("30s", description="How often the operator is scraped.")
    scrape_timeout: Duration = Field("10s", description="How long one scrape may take.")


class Metrics(Values):
    """The operator's own metrics; those of a workspace are its own Service's."""

    service: ServiceValues = ServiceValues()
    service_monitor: ServiceMonitor = ServiceMonitor()


class NetworkPolicyValues(Values):
    """What the operator may be connected to, and connect to: DNS, the API server, runtime pods, databases."""

    enabled: bool = Field(True, description="Make the NetworkPolicy.")
    api_server_ports: list[Port] = Field(
        [443, 6443, 8443, 16443], min_length=1, description="Ports on which the API server may be reached."
    )
    database_ports: list[Port] = Field([5432], description="Ports on which the databases of workspaces are reached.")
    metrics_from: list[Peer] = Field([], description="Who may scrape the operator; empty for everybody.")
    extra_egress: list[EgressRule] = Field([], description="Further connections that it may open, as Kubernetes rules.")


class Resources(Values):
    """CPU and memory of the operator's container."""

    requests: Amounts = Field(Amounts(cpu="50m", memory="128Mi"), description="What is reserved.")
    limits: Amounts = Field(Amounts(memory="256Mi"), description="What may not be exceeded.")


class Namespace(Values):
    """The namespace of the installation, for rendered manifests. `helm install --create-namespace` needs none of it."""

    create: bool = Field(False, description="Render the Namespace, with Pod Security enforced.")


class ChartValues(Values):
    """Everything that can be set."""

    name_override: str = Field("", max_length=63, description="Replaces the chart's name in names and labels.")
    fullname_override: str = Field("", max_length=50, description="Replaces the whole name of every object.")
    common_labels: dict[str, str] = Field({}, description="Labels added to every object.")
    replicas: int = Field(2, ge=1, le=5, description="Operator pods. One works, held by a Lease; the others stand by.")
    image: Image = Image()
    image_pull_secrets: list[LocalReference] = Field([], description="Secrets to pull the image with, like name: x.")
    crds: CustomResources = CustomResources()
    watch: Watch = Watch()
    settings: Settings = Settings()
    extra_env: list[Variable] = Field([], description="Further variables of the container, like HTTPS_PROXY.")
    service_account: ServiceAccountValues = ServiceAccountValues()
    rbac: Rbac = Rbac()
    resources: Resources = Resources()
    pod_labels: dict[str, str] = Field({}, description="Labels added to the pods.")
    pod_annotations: dict[str, str] = Field({}, description="Annotations added to the pods.")
    priority_class_name: str = Field("", description="Priority class of the pods.")
    node_selector: dict[str, str] = Field({}, description="Labels that a node must have.")
    tolerations: list[Toleration] = Field([], description="Taints that the pods tolerate.")
    affinity: Affinity = Field(Affinity(), description="Where the pods go, as Kubernetes has it.")
    topology_spread_constraints: list[SpreadConstraint] = Field(
        [SpreadConstraint(max_skew=1, topology_key="kubernetes.io/hostname", when_unsatisfiable="ScheduleAnyway")],
        description="How the pods are spread; without a labelSelector it is that of the operator's pods.",
    )
    pod_disruption_budget: DisruptionBudget = DisruptionBudget()
    metrics: Metrics = Metrics()
    network_policy: NetworkPolicyValues = NetworkPolicyValues()
    namespace: Namespace = Namespace()
