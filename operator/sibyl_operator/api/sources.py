"""Where values come from that do not stand in the spec: a key of a Secret or a ConfigMap beside the workspace."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from sibyl_operator.api.models import CacheSecretReference, DatabaseSecretReference, EnvironmentVariable

REFERENCE_FIELDS: Final = {"Secret": "secretKeyRef", "ConfigMap": "configMapKeyRef"}


class Source(NamedTuple):
    """An object that values are taken from, in the namespace of the workspace."""

    kind: Literal["ConfigMap", "Secret"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class SourceKey(NamedTuple):
    """One value: a key of a source."""

    source: Source
    key: str

    @property
    def field(self) -> str:
        """The field of a variable, in the spec and in a pod alike, that names such a value."""
        return REFERENCE_FIELDS[self.source.kind]


def key_of_secret(reference: DatabaseSecretReference | CacheSecretReference) -> SourceKey:
    """The value that opens a service which the operator does not run."""
    return SourceKey(Source("Secret", reference.name), reference.key)


def key_of_variable(variable: EnvironmentVariable) -> SourceKey | None:
    """Where the value of a variable is taken from; None for one that stands in the spec."""
    if variable.secret_key_ref is not None:
        return SourceKey(Source("Secret", variable.secret_key_ref.name), variable.secret_key_ref.key)
    if variable.config_map_key_ref is not None:
        return SourceKey(Source("ConfigMap", variable.config_map_key_ref.name), variable.config_map_key_ref.key)
    return None
