"""Read replicas in the document: in the store that they belong to, or beside the stores for the default one."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_runtime.workspace import WorkspaceInvalid, parse_workspace

REPLICAS = [{"dsn": "${FIRST}"}, {"dsn": "postgresql://second/db"}]


def stores(**map_: Any) -> dict[str, Any]:
    return {"providers": {"vector_store": map_}}


@pytest.mark.parametrize(
    "written",
    [
        stores(main={"replicas": REPLICAS, "read_strategy": "random"}),
        stores(main={}, replicas=REPLICAS, read_strategy="random"),
        stores(replicas=REPLICAS, read_strategy="random"),
    ],
)
def test_both_forms_mean_the_same(written: dict[str, Any]) -> None:
    store = parse_workspace(written).default_vector_store[1]
    assert [replica.dsn for replica in store.replicas] == ["${FIRST}", "postgresql://second/db"]
    assert store.read_strategy == "random"
    assert "read_strategy" in store.model_fields_set


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (
            stores(main={"replicas": REPLICAS}, replicas=REPLICAS),
            "providers.vector_store.replicas: means the same as main.replicas; keep one of them",
        ),
        (
            stores(main={"replicas": [{"dsn": "mysql://user:4711@db"}]}),
            "providers.vector_store.main.replicas[0].dsn: must start with postgresql:// (what it holds is not shown "
            "here)",
        ),
        (
            stores(main={"read_strategy": "nearest"}),
            'providers.vector_store.main.read_strategy: found "nearest"; allowed: round_robin, random, least_loaded',
        ),
    ],
)
def test_what_is_wrong_is_named(written: dict[str, Any], problem: str) -> None:
    with pytest.raises(WorkspaceInvalid) as refused:
        parse_workspace(written)
    assert [str(found) for found in refused.value.problems] == [problem]
