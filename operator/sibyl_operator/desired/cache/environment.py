"""How the runtime learns where its cache is and what opens it: by reference to a Secret, put together in the pod."""

from __future__ import annotations

from typing import Any, Final

from sibyl_operator.api.document_checks import REDIS_URL
from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.sources import key_of_secret
from sibyl_operator.desired.cache.config_map import PORT
from sibyl_operator.desired.credentials import PASSWORD_KEY
from sibyl_operator.desired.names import Names
from sibyl_operator.desired.variables import from_secret, from_source

CACHE_PASSWORD: Final = "SIBYL_CACHE_PASSWORD"


def cache_environment(resource: WorkspaceResource, names: Names) -> list[dict[str, Any]]:
    """The variables of the runtime container. The password comes first: a variable sees only those before it."""
    cache = resource.spec.cache
    if cache.external is not None:
        return [from_source(REDIS_URL, key_of_secret(cache.external.secret_ref))]
    if cache.provider != "Builtin":
        return []
    return [
        from_secret(CACHE_PASSWORD, names.cache, PASSWORD_KEY),
        {"name": REDIS_URL, "value": f"redis://:$({CACHE_PASSWORD})@{names.host(names.cache)}:{PORT}/0"},
    ]
