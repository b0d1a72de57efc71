"""How many pods a workspace may have."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_operator.api.models import Autoscaling
from sibyl_operator.api.scaling import ReplicaBounds, replica_bounds, scaling
from tests.operator.api.facts import resource

MOST = "runtime.autoscaling.maxReplicas"


@pytest.mark.parametrize(
    ("runtime", "bounds", "autoscaled"),
    [
        ({}, ReplicaBounds(3, 20, MOST), True),
        ({"autoscaling": {}}, ReplicaBounds(3, 20, MOST), True),
        ({"autoscaling": {"minReplicas": 1, "maxReplicas": 4}}, ReplicaBounds(1, 4, MOST), True),
        ({"replicas": 5}, ReplicaBounds(5, 5, "runtime.replicas"), False),
    ],
)
def test_the_bounds_are_those_of_the_spec(runtime: dict[str, Any], bounds: ReplicaBounds, autoscaled: bool) -> None:
    spec = resource(runtime=runtime).spec.runtime
    assert replica_bounds(spec) == bounds
    assert (scaling(spec) is not None) == autoscaled


def test_without_a_word_the_autoscaler_has_the_guides_targets() -> None:
    assert scaling(resource(runtime={}).spec.runtime) == Autoscaling()
