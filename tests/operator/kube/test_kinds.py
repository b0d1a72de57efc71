"""The table of kinds: every path as the API server has it."""

from __future__ import annotations

import pytest

from sibyl_operator.kube import kind_of


@pytest.mark.parametrize(
    ("kind", "collection"),
    [
        ("ConfigMap", "/api/v1/namespaces/team/configmaps"),
        ("Deployment", "/apis/apps/v1/namespaces/team/deployments"),
        ("HorizontalPodAutoscaler", "/apis/autoscaling/v2/namespaces/team/horizontalpodautoscalers"),
        ("SibylWorkspace", "/apis/sibyl.dev/v1alpha1/namespaces/team/sibylworkspaces"),
    ],
)
def test_a_path_leads_to_a_collection_an_object_and_a_subresource(kind: str, collection: str) -> None:
    known = kind_of(kind)
    assert known.path("team") == collection
    assert known.path("team", "one") == f"{collection}/one"
    assert known.path("team", "one", "status") == f"{collection}/one/status"
    assert known.path(None) == collection.replace("/namespaces/team", "")


def test_group_and_version_are_told_apart() -> None:
    assert (kind_of("Pod").group, kind_of("Pod").version) == ("", "v1")
    assert (kind_of("Event").group, kind_of("Event").version) == ("events.k8s.io", "v1")


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"kind 'Node' is not in the table of kinds; known: ConfigMap, .*, Sibyl"):
        kind_of("Node")
