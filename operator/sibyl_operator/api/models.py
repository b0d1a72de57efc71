"""`SibylWorkspace.spec` in this version: what the CRD is generated from and what every resource is read with.

Every field is bounded, described and takes effect. Defaults are literals, because the API server writes them too.
A rule over several fields stands with its model, in CEL and in Python.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from sibyl_operator.api import rules
from sibyl_operator.api.base import ApiModel, Rule
from sibyl_operator.api.fields import (
    AnnotationValue,
    DataKey,
    ImageReference,
    LabelKey,
    LabelValue,
    ObjectName,
    QualifiedName,
    VariableName,
    VariableValue,
    atomic_list,
    map_by,
    named_once,
)
from sibyl_operator.api.quantity import Quantity

DOCUMENT: Final = "x-sibyl-document"

DatabaseProvider = Literal["External", "Builtin", "CloudNativePG"]
CacheProvider = Literal["External", "None", "Builtin"]


class KeyReference(ApiModel):
    """One key of a Secret or a ConfigMap in the same namespace."""

    name: ObjectName = Field(description="Name of the object, in the namespace of the workspace.")
    key: DataKey = Field(description="Key within the object.")


class DatabaseSecretReference(ApiModel):
    """The key of a Secret that holds a PostgreSQL DSN."""

    name: ObjectName = Field(description="Name of the Secret, in the namespace of the workspace.")
    key: DataKey = Field("dsn", description="Key whose value is a DSN: postgresql://user:password@host:5432/database.")


class CacheSecretReference(ApiModel):
    """The key of a Secret that holds a Redis URL."""

    name: ObjectName = Field(description="Name of the Secret, in the namespace of the workspace.")
    key: DataKey = Field("url", description="Key whose value is a URL: redis://:password@host:6379/0.")


class EnvironmentVariable(ApiModel):
    """A variable of the runtime container. The document refers to it as ${NAME}."""

    name: VariableName = Field(description="Name of the variable. DATABASE_URL, REDIS_URL and SIBYL_* are reserved.")
    value: VariableValue | None = Field(None, description="Literal value; never a secret.")
    secret_key_ref: KeyReference | None = Field(None, description="Take the value from a Secret.")
    config_map_key_ref: KeyReference | None = Field(None, description="Take the value from a ConfigMap.")

    rules: ClassVar[tuple[Rule, ...]] = (rules.ONE_SOURCE, rules.NOT_RESERVED)


class ResourceRequests(ApiModel):
    """What the scheduler reserves, and what utilisation targets are measured against."""

    cpu: Quantity = Field("1", description="CPU reserved for each pod.")
    memory: Quantity = Field("384Mi", description="Memory reserved for each pod.")


class ResourceLimits(ApiModel):
    """What a pod may not exceed."""

    cpu: Quantity | None = Field(None, description="CPU ceiling. Absent: none, so that a burst is not throttled.")
    memory: Quantity = Field("640Mi", description="Memory ceiling: above it the pod is killed and started anew.")


class Resources(ApiModel):
    """CPU and memory of each runtime pod."""

    requests: ResourceRequests = Field(ResourceRequests(), description="Reserved for each pod.")
    limits: ResourceLimits = Field(ResourceLimits(), description="Ceilings of each pod.")

    rules: ClassVar[tuple[Rule, ...]] = (rules.MEMORY_WITHIN_LIMIT, rules.CPU_WITHIN_LIMIT)


class ScalingPolicy(ApiModel):
    """How many pods one step may add or take away."""

    type: Literal["Pods", "Percent"] = Field(description="Whether value counts pods or percent of them.")
    value: int = Field(ge=1, le=1000, description="The most that one period may change.")
    period_seconds: int = Field(ge=1, le=1800, description="Length of the period, in seconds.")


class ScalingDirection(ApiModel):
    """How fast the number of pods follows the load in one direction; what is absent is Kubernetes' own default."""

    stabilization_window_seconds: int | None = Field(
        None, ge=0, le=3600, description="How long the load must have called for it. Absent: 0 up, 300 down."
    )
    select_policy: Literal["Max", "Min", "Disabled"] | None = Field(
        None, description="Which policy decides when several apply; Disabled forbids this direction. Absent: Max."
    )
    policies: tuple[ScalingPolicy, ...] = atomic_list(most=8, description="Steps that are allowed. Absent: any step.")


class ScalingBehavior(ApiModel):
    """How fast the number of pods follows the load."""

    scale_up: ScalingDirection | None = Field(None, description="Towards more pods.")
    scale_down: ScalingDirection | None = Field(None, description="Towards fewer pods.")


class Autoscaling(ApiModel):
    """Bounds and targets of the HorizontalPodAutoscaler."""

    min_replicas: int = Field(3, ge=1, le=200, description="Fewest pods.")
    max_replicas: int = Field(20, ge=1, le=200, description="Most pods.")
    target_cpu_utilization: int = Field(
        70, ge=1, le=100, alias="targetCPUUtilization", description="Average CPU use to hold, percent of the request."
    )
    target_memory_utilization: int = Field(
        80, ge=1, le=100, description="Average memory use to hold, percent of the request."
    )
    behavior: ScalingBehavior | None = Field(
        None, description="How fast the number of pods follows the load. Absent: Kubernetes' own defaults."
    )

    rules: ClassVar[tuple[Rule, ...]] = (rules.MIN_WITHIN_MAX,)


class Toleration(ApiModel):
    """Lets the pods run on nodes with a matching taint; the fields are those of core/v1."""

    key: QualifiedName | None = Field(None, description="Taint key. Absent: every key, with operator Exists.")
    operator: Literal["Equal", "Exists"] = Field("Equal", description="How the value is compared.")
    value: LabelValue | None = Field(None, description="Taint value, for operator Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Taint effect. Absent: every effect."
    )
    toleration_seconds: int | None = Field(
        None, ge=0, le=2_147_483_647, description="How long a NoExecute taint is tolerated, in seconds."
    )

    rules: ClassVar[tuple[Rule, ...]] = (rules.KEY_OR_EXISTS, rules.EXISTS_WITHOUT_VALUE, rules.SECONDS_FOR_NO_EXECUTE)


class PodTemplate(ApiModel):
    """What may be added to the runtime pods; everything else of them belongs to the operator."""

    labels: dict[LabelKey, LabelValue] = Field({}, max_length=32, description="Labels added to the pods.")
    annotations: dict[LabelKey, AnnotationValue] = Field(
        {}, max_length=32, description="Annotations added to the pods."
    )
    node_selector: dict[LabelKey, LabelValue] = Field(
        {}, max_length=32, description="Labels that a node must have to run the pods."
    )
    tolerations: tuple[Toleration, ...] = atomic_list(most=32, description="Taints that the pods tolerate.")

    rules: ClassVar[tuple[Rule, ...]] = (rules.LABELS_NOT_OURS, rules.ANNOTATIONS_NOT_OURS)


class RuntimeSpec(ApiModel):
    """The Deployment of the RAG runtime."""

    image: ImageReference | None = Field(
        None, description="Image of the runtime. Absent: the one that belongs to the operator's version."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When the image is pulled."
    )
    replicas: int | None = Field(
        None, ge=1, le=200, description="Fixed number of pods. Absent: the autoscaler decides. Excludes autoscaling."
    )
    autoscaling: Autoscaling | None = Field(
        None, description="Bounds of the autoscaler. Absent, and without replicas: 3 to 20 pods, CPU 70 %, memory 80 %."
    )
    resources: Resources = Field(Resources(), description="CPU and memory of each pod.")
    env: Annotated[tuple[EnvironmentVariable, ...], AfterValidator(named_once)] = map_by(
        "name", most=64, description="Variables of the runtime container, for ${NAME} references in the document."
    )
    pod_template: PodTemplate = Field(PodTemplate(), description="Additions to the pods.")

    rules: ClassVar[tuple[Rule, ...]] = (rules.REPLICAS_OR_AUTOSCALING,)


class ExternalDatabase(ApiModel):
    """A PostgreSQL with pgvector that you run."""

    secret_ref: DatabaseSecretReference = Field(description="Where its DSN is kept.")


class DatabaseStorage(ApiModel):
    """The volume that one PostgreSQL keeps its data on."""

    size: Quantity = Field("10Gi", description="Size of the volume; at least 64Mi.")
    storage_class_name: ObjectName | None = Field(
        None, description="StorageClass of the volume. Absent: the cluster's default."
    )

    rules: ClassVar[tuple[Rule, ...]] = (rules.ENOUGH_FOR_DATA,)


class DatabaseRequests(ApiModel):
    """What the scheduler reserves for one PostgreSQL."""

    cpu: Quantity = Field("250m", description="CPU reserved.")
    memory: Quantity = Field("512Mi", description="Memory reserved.")


class DatabaseLimits(ApiModel):
    """What one PostgreSQL may not exceed; its buffers are derived from the memory."""

    cpu: Quantity | None = Field(None, description="CPU ceiling. Absent: none.")
    memory: Quantity = Field("1Gi", description="Memory ceiling: above it the server is killed and recovers.")


class DatabaseResources(ApiModel):
    """CPU and memory of the primary and of each read replica."""

    requests: DatabaseRequests = Field(DatabaseRequests(), description="Reserved for each server.")
    limits: DatabaseLimits = Field(DatabaseLimits(), description="Ceilings of each server.")

    rules: ClassVar[tuple[Rule, ...]] = (rules.MEMORY_WITHIN_LIMIT, rules.CPU_WITHIN_LIMIT)


class Database(ApiModel):
    """The PostgreSQL that holds the vectors."""

    provider: DatabaseProvider = Field(
        description="Who runs the database: External, you do; or Builtin, the operator does, without failover."
    )
    external: ExternalDatabase | None = Field(None, description="The database, for provider External.")
    image: ImageReference | None = Field(
        None,
        description="Image with initdb, postgres and pg_basebackup (18) and pgvector, for provider Builtin.",
    )
    storage: DatabaseStorage | None = Field(
        None, description="The volume of each server, for provider Builtin. Absent: 10Gi of the default StorageClass."
    )
    resources: DatabaseResources | None = Field(None, description="CPU and memory, for provider Builtin.")
    read_replicas: int | None = Field(
        None, ge=0, le=8, description="Streaming read replicas, for provider Builtin. Absent: none."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        rules.DATABASE_AVAILABLE,
        rules.DATABASE_IMMUTABLE,
        rules.STORAGE_IMMUTABLE,
        rules.external_given("database"),
        rules.external_not_given("database"),
        *rules.only_for_builtin("database", "image", "storage", "resources", "readReplicas"),
    )


class ExternalCache(ApiModel):
    """A Redis that you run."""

    secret_ref: CacheSecretReference = Field(description="Where its URL is kept.")


class Cache(ApiModel):
    """The Redis that answers are cached in, shared by all pods."""

    provider: CacheProvider = Field(
        "None",
        description="Who runs the cache: External, you do; Builtin, the operator does; or None, no shared cache.",
    )
    external: ExternalCache | None = Field(None, description="The cache, for provider External.")
    image: ImageReference | None = Field(None, description="Image with redis-server, for provider Builtin.")
    memory: Quantity | None = Field(
        None,
        description="Memory ceiling of the cache, for provider Builtin; it holds three quarters. Absent: 256Mi.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        rules.external_given("cache"),
        rules.external_not_given("cache"),
        *rules.only_for_builtin("cache", "image", "memory"),
        rules.ENOUGH_FOR_REDIS,
    )


class PullSecret(ApiModel):
    """A Secret of type kubernetes.io/dockerconfigjson."""

    name: ObjectName = Field(description="Name of the Secret, in the namespace of the workspace.")


class NetworkPolicySettings(ApiModel):
    """Who may talk to whom. Policies add up: to allow more, write a NetworkPolicy of your own for the same pods."""

    enabled: bool = Field(
        True, description="Write NetworkPolicies that allow what the workspace needs and nothing else. False: none."
    )


class SibylWorkspaceSpec(ApiModel):
    """What a RAG service shall be."""

    workspace: dict[str, Any] = Field(
        description=(
            "The workspace document, word for word as `sibyl serve --file` reads it. Numbers and true/false are "
            "literals here; ${NAME} references stand in text fields, and their values come from spec.runtime.env."
        ),
        json_schema_extra={DOCUMENT: True},
    )
    runtime: RuntimeSpec = Field(RuntimeSpec(), description="The pods that serve the document.")
    database: Database = Field(description="The PostgreSQL that holds the vectors.")
    cache: Cache = Field(Cache(), description="The Redis that answers are cached in.")
    network_policy: NetworkPolicySettings = Field(NetworkPolicySettings(), description="Who may talk to whom.")
    deletion_policy: Literal["Retain", "Delete"] = Field(
        "Retain",
        description="What becomes of the volume of a Builtin database when the workspace is deleted: kept, or deleted.",
    )
    image_pull_secrets: Annotated[tuple[PullSecret, ...], AfterValidator(named_once)] = map_by(
        "name", most=8, description="Secrets to pull the images of all pods with."
    )
    suspend: bool = Field(
        False, description="Stop reconciling: nothing is written but status, and what runs keeps running."
    )

    rules: ClassVar[tuple[Rule, ...]] = (rules.DELETES_ONLY_BUILTIN,)
