"""The operator's rights: no more than the table says, and the table says why."""

from __future__ import annotations

import pytest

from sibyl_operator.kube.kinds import KINDS
from sibyl_operator.rbac import WORKSPACE_GRANTS, lease_grants
from sibyl_operator.reconcile.children import CHILD_KINDS

GRANTS = {(grant.group, grant.resource): grant for grant in WORKSPACE_GRANTS}
NEVER_CHANGED = {
    ("", "pods"): ("list",),
    ("", "secrets"): ("create", "get"),
    ("sibyl.dev", "sibylworkspaces"): ("get", "list", "watch"),
}


def test_every_right_has_a_reason_and_stands_once_in_order() -> None:
    assert all(grant.reason for grant in WORKSPACE_GRANTS)
    keys = [(grant.group, grant.resource) for grant in WORKSPACE_GRANTS]
    assert keys == sorted(set(keys))
    assert all(list(grant.verbs) == sorted(set(grant.verbs)) for grant in WORKSPACE_GRANTS)


def test_nothing_is_granted_by_wildcard_and_nothing_escalates() -> None:
    granted = {word for grant in WORKSPACE_GRANTS for word in (grant.group, grant.resource, *grant.verbs)}
    assert not granted & {"*", "escalate", "bind", "impersonate", "roles", "clusterroles", "deletecollection"}


@pytest.mark.parametrize(("key", "verbs"), NEVER_CHANGED.items())
def test_what_is_not_ours_is_never_changed(key: tuple[str, str], verbs: tuple[str, ...]) -> None:
    assert GRANTS[key].verbs == verbs


@pytest.mark.parametrize("kind", CHILD_KINDS)
def test_every_kind_of_child_can_be_kept(kind: str) -> None:
    found = KINDS[kind]
    assert GRANTS[found.group, found.plural].verbs == ("create", "delete", "get", "list", "patch", "watch")


def test_no_kind_is_granted_that_the_operator_does_not_know() -> None:
    known = {(kind.group, kind.plural) for kind in KINDS.values()}
    assert {(group, resource.partition("/")[0]) for group, resource in GRANTS} <= known


def test_leases_are_those_of_the_operator_alone() -> None:
    create, use = lease_grants("sibyl-operator")
    assert create.rule() == {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]}
    assert use.rule() == {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["get", "update"],
        "resourceNames": ["sibyl-operator"],
    }


def test_secrets_are_never_listed_nor_watched() -> None:
    """Both would show every Secret of a namespace, whatever a workspace names."""
    verbs = {verb for grant in WORKSPACE_GRANTS if grant.resource == "secrets" for verb in grant.verbs}
    assert "get" in verbs
    assert not {"list", "watch"} & verbs
