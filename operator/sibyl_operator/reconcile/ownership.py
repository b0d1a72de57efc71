"""Whose object is it: the one question before every write and every delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sibyl_operator.api.group import KIND
from sibyl_operator.desired.names import WORKSPACE_LABEL
from sibyl_operator.reconcile.key import Key


def controller(manifest: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The ownerReference of the object's controller, if it has one."""
    references = manifest["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def owned_by(manifest: Mapping[str, Any], uid: str) -> bool:
    """Whether the workspace with that uid is the object's controller.

    The reference decides alone: nobody else can name our uid, and an object that lost its labels by hand is still ours
    to repair. Labels without the reference are only a resemblance.
    """
    reference = controller(manifest)
    return reference is not None and reference.get("uid") == uid


def refusal(manifest: Mapping[str, Any]) -> str:
    """Why an object that bears a name of ours is left alone, and what its owner can do about it."""
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    reference = controller(manifest)
    if reference is None:
        holder = "it exists already and no workspace controls it"
    elif reference.get("kind") == KIND:
        holder = f"it belongs to an earlier SibylWorkspace {reference.get('name')} with another uid"
    else:
        holder = f"it is controlled by {reference.get('kind')} {reference.get('name')}"
    return f"{kind} {name} is not touched: {holder}. Delete or rename it, or rename the workspace."


def parent(manifest: Mapping[str, Any]) -> Key | None:
    """The workspace that a child belongs to, or claims to: by its controller, else by its label.

    The reference comes first, because a label holds at most 63 characters and a name may have more.
    """
    metadata = manifest["metadata"]
    reference = controller(manifest)
    if reference is not None and reference.get("kind") == KIND:
        return Key(metadata["namespace"], reference["name"])
    name = (metadata.get("labels") or {}).get(WORKSPACE_LABEL)
    return Key(metadata["namespace"], name) if name else None
