"""The names under which the API server knows the custom resource. They are for ever: renaming one strands objects."""

from __future__ import annotations

from typing import Final

GROUP: Final = "sibyl.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "SibylWorkspace"
PLURAL: Final = "sibylworkspaces"
SINGULAR: Final = "sibylworkspace"
SHORT_NAME: Final = "swk"
CRD_NAME: Final = f"{PLURAL}.{GROUP}"
