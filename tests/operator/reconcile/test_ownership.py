"""Ownership: decided by the controller reference, told in words that say what to do."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_operator.reconcile.key import Key
from sibyl_operator.reconcile.ownership import controller, owned_by, parent, refusal

LONG = "w" * 200


def child(*references: dict[str, Any], **labels: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "demo-runtime", "namespace": "team", "labels": labels}
    if references:
        metadata["ownerReferences"] = list(references)
    return {"kind": "Service", "metadata": metadata}


def reference(
    name: str = "demo", uid: str = "u1", kind: str = "SibylWorkspace", control: bool = True
) -> dict[str, Any]:
    return {"kind": kind, "name": name, "uid": uid, "controller": control}


LABELLED = {"sibyl.dev/workspace": "demo", "app.kubernetes.io/managed-by": "sibyl-operator"}


@pytest.mark.parametrize(
    ("manifest", "owned"),
    [
        (child(reference()), True),
        (child(reference(), **LABELLED), True),
        (child(reference(kind="Helm", uid="u2", control=False), reference()), True),
        (child(reference(uid="u2"), **LABELLED), False),
        (child(reference(control=False), **LABELLED), False),
        (child(**LABELLED), False),
        (child(), False),
    ],
)
def test_only_the_controller_reference_with_our_uid_makes_an_object_ours(manifest: dict[str, Any], owned: bool) -> None:
    assert owned_by(manifest, "u1") is owned


def test_a_refusal_tells_whose_it_is_and_what_to_do() -> None:
    assert refusal(child()) == (
        "Service demo-runtime is not touched: it exists already and no workspace controls it. "
        "Delete or rename it, or rename the workspace."
    )
    assert "an earlier SibylWorkspace demo with another uid" in refusal(child(reference(uid="old")))
    assert "it is controlled by Helm web" in refusal(child(reference("web", kind="Helm")))


def test_the_parent_is_named_by_the_reference_before_the_label() -> None:
    assert parent(child(reference(LONG), **LABELLED)) == Key("team", LONG)
    assert parent(child(reference("web", kind="Helm"), **LABELLED)) == Key("team", "demo")
    assert parent(child()) is None
    assert controller(child(reference(control=False))) is None


def test_a_key_reads_as_a_path() -> None:
    assert str(Key("team", "demo")) == "team/demo"
