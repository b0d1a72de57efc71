"""Every name of a workspace gives valid, bounded and distinct names of children."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_operator.api.labels import LONGEST
from sibyl_operator.desired.names import Names, child_name, label_value

SERVICE_NAME = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
LABEL = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")

PART = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?", fullmatch=True)
WORKSPACES = st.lists(PART, min_size=1, max_size=6).map(".".join).filter(lambda name: len(name) <= 253)


@pytest.mark.parametrize(
    ("workspace", "expected"),
    [
        ("docs", "docs-runtime"),
        ("a" * 55, f"{'a' * 55}-runtime"),
        ("a" * 56, f"{'a' * 46}-b35439a4-runtime"),
        ("docs.team", "docs-team-1e97e78e-runtime"),
        ("7docs", "w-7docs-b1d0568b-runtime"),
    ],
)
def test_a_name_that_fits_is_kept_and_another_is_shortened_with_a_hash(workspace: str, expected: str) -> None:
    assert child_name(workspace, "runtime") == expected


@given(WORKSPACES, st.sampled_from(["runtime", "config"]))
def test_every_child_has_a_name_that_every_kind_takes(workspace: str, component: str) -> None:
    name = child_name(workspace, component)
    assert len(name) <= LONGEST
    assert SERVICE_NAME.match(name)
    assert name.endswith(f"-{component}")


@given(WORKSPACES, WORKSPACES)
def test_two_workspaces_never_share_a_child(one: str, other: str) -> None:
    assert (child_name(one, "runtime") == child_name(other, "runtime")) == (one == other)
    assert (label_value(one) == label_value(other)) == (one == other)


@given(WORKSPACES)
def test_every_label_is_one_that_kubernetes_takes(workspace: str) -> None:
    value = label_value(workspace)
    assert len(value) <= LONGEST
    assert LABEL.match(value)


@pytest.mark.parametrize("length", [63, 64, 253])
def test_long_names_that_differ_only_at_the_end_stay_apart(length: int) -> None:
    one, other = "a" * (length - 1) + "b", "a" * (length - 1) + "c"
    assert child_name(one, "runtime") != child_name(other, "runtime")
    assert label_value(one) != label_value(other)


def test_selectors_never_carry_what_changes() -> None:
    names = Names("team", "docs", "uid")
    assert names.selector() == {
        "app.kubernetes.io/component": "runtime",
        "app.kubernetes.io/instance": "docs",
        "app.kubernetes.io/name": "sibyl-runtime",
    }
    assert names.selector().items() <= names.pod_labels().items()
    assert "app.kubernetes.io/version" not in names.pod_labels()


def test_every_child_carries_all_labels_and_its_owner() -> None:
    metadata = Names("team", "docs", "uid").metadata("docs-runtime")
    assert set(metadata["labels"]) == {
        "app.kubernetes.io/component",
        "app.kubernetes.io/instance",
        "app.kubernetes.io/managed-by",
        "app.kubernetes.io/name",
        "app.kubernetes.io/part-of",
        "app.kubernetes.io/version",
        "sibyl.dev/workspace",
    }
    assert metadata["ownerReferences"] == [
        {
            "apiVersion": "sibyl.dev/v1alpha1",
            "kind": "SibylWorkspace",
            "name": "docs",
            "uid": "uid",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
