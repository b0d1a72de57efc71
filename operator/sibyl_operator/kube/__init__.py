"""The Kubernetes API behind one small port; the only package that knows the `kubernetes` client."""

from sibyl_operator.kube.api import FIELD_MANAGER, HANDOVER_MANAGER, STATUS_MANAGER, KubeApi, Manifest
from sibyl_operator.kube.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Invalid,
    KubeError,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from sibyl_operator.kube.kinds import KINDS, Kind, kind_of

__all__ = [
    "FIELD_MANAGER",
    "HANDOVER_MANAGER",
    "KINDS",
    "STATUS_MANAGER",
    "AlreadyExists",
    "Conflict",
    "Forbidden",
    "Invalid",
    "Kind",
    "KubeApi",
    "KubeError",
    "Manifest",
    "NotFound",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "kind_of",
]
