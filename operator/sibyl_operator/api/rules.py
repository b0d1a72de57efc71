"""The rules over several fields of the custom resource, each in CEL and in Python, with one sentence for both."""

from __future__ import annotations

from typing import Any, Final

from pydantic.alias_generators import to_snake

from sibyl_operator.api.base import Rule
from sibyl_operator.api.cache_memory import LEAST_MEMORY
from sibyl_operator.api.quantity import amount

INJECTED: Final = ("DATABASE_URL", "REDIS_URL")
RESERVED_PREFIX: Final = "SIBYL_"
OUR_DOMAINS: Final = ("app.kubernetes.io/", "sibyl.dev/")
OUR_ANNOTATIONS: Final = ("sibyl.dev/", "prometheus.io/")


def _one_source(variable: Any) -> str | None:
    sources = (variable.value, variable.secret_key_ref, variable.config_map_key_ref)
    if sum(source is not None for source in sources) == 1:
        return None
    return f"env {variable.name} needs exactly one of value, secretKeyRef, configMapKeyRef"


ONE_SOURCE: Final = Rule(
    cel="[has(self.value), has(self.secretKeyRef), has(self.configMapKeyRef)].filter(given, given).size() == 1",
    message="env needs exactly one of value, secretKeyRef, configMapKeyRef",
    message_expression="'env ' + self.name + ' needs exactly one of value, secretKeyRef, configMapKeyRef'",
    check=_one_source,
)


def _not_reserved(variable: Any) -> str | None:
    if variable.name not in INJECTED and not variable.name.startswith(RESERVED_PREFIX):
        return None
    return (
        f"env {variable.name} is set by the operator; use spec.database for DATABASE_URL, spec.cache for REDIS_URL, "
        "and another name for your own"
    )


NOT_RESERVED: Final = Rule(
    cel="!(self.name in ['DATABASE_URL', 'REDIS_URL']) && !self.name.startsWith('SIBYL_')",
    message="env DATABASE_URL, REDIS_URL and SIBYL_* are set by the operator",
    message_expression=(
        "'env ' + self.name + ' is set by the operator; use spec.database for DATABASE_URL, spec.cache for "
        "REDIS_URL, and another name for your own'"
    ),
    field="name",
    check=_not_reserved,
)


def _within_limit(resource: str, resources: Any) -> str | None:
    request, limit = getattr(resources.requests, resource), getattr(resources.limits, resource)
    if limit is None or amount(request) <= amount(limit):
        return None
    return f"requests.{resource} {request} is above limits.{resource} {limit}"


MEMORY_WITHIN_LIMIT: Final = Rule(
    cel="quantity(string(self.requests.memory)).compareTo(quantity(string(self.limits.memory))) <= 0",
    message="requests.memory is above limits.memory",
    message_expression=(
        "'requests.memory ' + string(self.requests.memory) + ' is above limits.memory ' + string(self.limits.memory)"
    ),
    check=lambda resources: _within_limit("memory", resources),
)
CPU_WITHIN_LIMIT: Final = Rule(
    cel=(
        "!has(self.limits.cpu) || quantity(string(self.requests.cpu)).compareTo(quantity(string(self.limits.cpu))) <= 0"
    ),
    message="requests.cpu is above limits.cpu",
    message_expression=(
        "'requests.cpu ' + string(self.requests.cpu) + ' is above limits.cpu ' + string(self.limits.cpu)"
    ),
    check=lambda resources: _within_limit("cpu", resources),
)


def _min_within_max(scaling: Any) -> str | None:
    if scaling.min_replicas <= scaling.max_replicas:
        return None
    return f"minReplicas {scaling.min_replicas} is above maxReplicas {scaling.max_replicas}"


MIN_WITHIN_MAX: Final = Rule(
    cel="self.minReplicas <= self.maxReplicas",
    message="minReplicas is above maxReplicas",
    message_expression="'minReplicas %d is above maxReplicas %d'.format([self.minReplicas, self.maxReplicas])",
    field="minReplicas",
    check=_min_within_max,
)
REPLICAS_OR_AUTOSCALING: Final = Rule(
    cel="!has(self.replicas) || !has(self.autoscaling)",
    message="replicas and autoscaling exclude each other; remove one of them",
    check=lambda runtime: (
        None
        if runtime.replicas is None or runtime.autoscaling is None
        else "replicas and autoscaling exclude each other; remove one of them"
    ),
)

_KEY_OR_EXISTS = "a toleration without key needs operator Exists"
KEY_OR_EXISTS: Final = Rule(
    cel="has(self.key) || self.operator == 'Exists'",
    message=_KEY_OR_EXISTS,
    check=lambda toleration: _KEY_OR_EXISTS if toleration.key is None and toleration.operator != "Exists" else None,
)
_EXISTS_WITHOUT_VALUE = "a toleration with operator Exists takes no value"
EXISTS_WITHOUT_VALUE: Final = Rule(
    cel="self.operator != 'Exists' || !has(self.value)",
    message=_EXISTS_WITHOUT_VALUE,
    field="value",
    check=lambda toleration: (
        _EXISTS_WITHOUT_VALUE if toleration.operator == "Exists" and toleration.value is not None else None
    ),
)
_SECONDS_FOR_NO_EXECUTE = "tolerationSeconds needs effect NoExecute"
SECONDS_FOR_NO_EXECUTE: Final = Rule(
    cel="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
    message=_SECONDS_FOR_NO_EXECUTE,
    field="tolerationSeconds",
    check=lambda toleration: (
        _SECONDS_FOR_NO_EXECUTE
        if toleration.toleration_seconds is not None and toleration.effect != "NoExecute"
        else None
    ),
)


def _not_ours(what: str, names: dict[str, str], domains: tuple[str, ...]) -> str | None:
    if not any(name.startswith(domains) for name in names):
        return None
    return f"{what} under {' and '.join(domains)} are set by the operator"


LABELS_NOT_OURS: Final = Rule(
    cel=(
        "!has(self.labels) || "
        "self.labels.all(name, !name.startsWith('app.kubernetes.io/') && !name.startsWith('sibyl.dev/'))"
    ),
    message="labels under app.kubernetes.io/ and sibyl.dev/ are set by the operator",
    field="labels",
    check=lambda template: _not_ours("labels", template.labels, OUR_DOMAINS),
)
ANNOTATIONS_NOT_OURS: Final = Rule(
    cel=(
        "!has(self.annotations) || "
        "self.annotations.all(name, !name.startsWith('sibyl.dev/') && !name.startsWith('prometheus.io/'))"
    ),
    message="annotations under sibyl.dev/ and prometheus.io/ are set by the operator",
    field="annotations",
    check=lambda template: _not_ours("annotations", template.annotations, OUR_ANNOTATIONS),
)

_NO_CLOUD_NATIVE_PG: Final = "database.provider CloudNativePG is not available in this version; use External or Builtin"
DATABASE_AVAILABLE: Final = Rule(
    cel="self.provider != 'CloudNativePG'",
    message=_NO_CLOUD_NATIVE_PG,
    field="provider",
    check=lambda database: _NO_CLOUD_NATIVE_PG if database.provider == "CloudNativePG" else None,
)
DATABASE_IMMUTABLE: Final = Rule(
    cel="self.provider == oldSelf.provider",
    message="database.provider cannot be changed, because data does not move by itself; create a second workspace",
    field="provider",
    check=None,
)
STORAGE_IMMUTABLE: Final = Rule(
    cel=(
        "(has(self.storage) ? string(self.storage.size) : '10Gi') == "
        "(has(oldSelf.storage) ? string(oldSelf.storage.size) : '10Gi') && "
        "(has(self.storage) && has(self.storage.storageClassName) ? self.storage.storageClassName : '') == "
        "(has(oldSelf.storage) && has(oldSelf.storage.storageClassName) ? oldSelf.storage.storageClassName : '')"
    ),
    message=(
        "database.storage cannot be changed, because a StatefulSet cannot change its volumes; enlarge its "
        "PersistentVolumeClaims themselves, or create a second workspace"
    ),
    field="storage",
    check=None,
)
_DELETES_ONLY_BUILTIN: Final = (
    "deletionPolicy Delete belongs to database.provider Builtin; a database that you run is never deleted"
)
DELETES_ONLY_BUILTIN: Final = Rule(
    cel="self.deletionPolicy != 'Delete' || self.database.provider == 'Builtin'",
    message=_DELETES_ONLY_BUILTIN,
    field="deletionPolicy",
    check=lambda spec: (
        _DELETES_ONLY_BUILTIN if spec.deletion_policy == "Delete" and spec.database.provider != "Builtin" else None
    ),
)


def _at_least(part: str, field: str, least: str, *, purpose: str) -> Rule:
    """The quantity `part.field`, where it is given, is enough for its purpose."""
    name, step = f"{part}.{field}", f"is too little for {purpose}; give it {least} or more"

    def check(model: Any) -> str | None:
        found = getattr(model, field)
        return None if found is None or amount(found) >= amount(least) else f"{name} {found} {step}"

    return Rule(
        cel=f"!has(self.{field}) || quantity(string(self.{field})).compareTo(quantity('{least}')) >= 0",
        message=f"{name} {step}",
        message_expression=f"'{name} ' + string(self.{field}) + ' {step}'",
        field=field,
        check=check,
    )


ENOUGH_FOR_REDIS: Final = _at_least("cache", "memory", LEAST_MEMORY, purpose="Redis itself")
ENOUGH_FOR_DATA: Final = _at_least("database.storage", "size", "64Mi", purpose="an empty database")


def external_given(part: str) -> Rule:
    """Provider External needs its coordinates."""
    sentence = f"{part}.provider External needs {part}.external.secretRef"
    return Rule(
        cel="self.provider != 'External' || has(self.external)",
        message=sentence,
        check=lambda chosen: sentence if chosen.provider == "External" and chosen.external is None else None,
    )


def external_not_given(part: str) -> Rule:
    """Coordinates without provider External would be ignored, so they are refused."""
    sentence = f"{part}.external belongs to provider External; remove it, or set {part}.provider External"
    return Rule(
        cel="self.provider == 'External' || !has(self.external)",
        message=sentence,
        field="external",
        check=lambda chosen: sentence if chosen.provider != "External" and chosen.external is not None else None,
    )


def only_for_builtin(part: str, *fields: str) -> tuple[Rule, ...]:
    """What shapes a server of the operator's own would be ignored beside another one, so it is refused."""
    return tuple(_only_for_builtin(part, field) for field in fields)


def _only_for_builtin(part: str, field: str) -> Rule:
    sentence = f"{part}.{field} belongs to provider Builtin; remove it, or set {part}.provider Builtin"
    attribute = to_snake(field)
    return Rule(
        cel=f"self.provider == 'Builtin' || !has(self.{field})",
        message=sentence,
        field=field,
        check=lambda chosen: (
            sentence if chosen.provider != "Builtin" and getattr(chosen, attribute) is not None else None
        ),
    )
