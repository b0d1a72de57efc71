"""From a file to its children without a cluster, and everything that is wrong with the file."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from sibyl_operator.desired.rendering import children_of
from sibyl_runtime.workspace import WorkspaceInvalid, load_document
from tests.operator.api.facts import body

SAMPLE = """\
apiVersion: sibyl.dev/v1alpha1
kind: SibylWorkspace
metadata:
  name: docs
spec:
  workspace:
    mcp:
      host: 127.0.0.1
    pipelines:
      search:
        steps:
          - use: rag.retrieval
            config:
              topk: 5
  runtime:
    replcas: 2
  database:
    provider: External
    external:
      secretRef:
        name: docs-database
"""


def render(text: str, namespace: str | None = None) -> tuple[dict[str, Any], ...]:
    return children_of(load_document("docs.yaml", text), namespace)


def refused(text: str) -> str:
    with pytest.raises(WorkspaceInvalid) as caught:
        render(text)
    return str(caught.value)


def test_the_children_are_printed_without_an_owner_that_only_a_cluster_knows() -> None:
    made = render(yaml.safe_dump(body()))
    assert [manifest["kind"] for manifest in made] == [
        "ServiceAccount", "ConfigMap", "NetworkPolicy", "Deployment", "Service", "PodDisruptionBudget",
    ]  # fmt: skip
    assert not any("ownerReferences" in manifest["metadata"] for manifest in made)


@pytest.mark.parametrize(
    ("metadata", "asked", "namespace"),
    [({"name": "docs"}, None, "default"), ({"name": "docs"}, "team", "team"), (body()["metadata"], "other", "team")],
)
def test_the_namespace_of_the_file_wins(metadata: dict[str, Any], asked: str | None, namespace: str) -> None:
    made = render(yaml.safe_dump({**body(), "metadata": metadata}), asked)
    assert {manifest["metadata"]["namespace"] for manifest in made} == {namespace}


def test_every_problem_is_told_with_its_line() -> None:
    text = SAMPLE.replace("            config:\n              topk: 5\n", "")
    assert refused(text) == (
        "docs.yaml: spec.runtime.replcas: is not a field. Did you mean replicas?\n"
        "docs.yaml: spec.workspace.mcp.host: 127.0.0.1 keeps probes and clients out of the pod; remove it, or write "
        "0.0.0.0  (line 8)\n"
        "2 errors"
    )


def test_problems_within_steps_have_lines_too() -> None:
    place = "spec.workspace.pipelines.search.steps[0].config.topk"
    assert f"docs.yaml: {place}: unknown key. Did you mean top_k?  (line 14)" in refused(SAMPLE)


def test_a_bare_document_is_told_what_it_lacks() -> None:
    assert refused("name: docs\n") == (
        "docs.yaml: is a workspace document without a resource around it; put it under spec.workspace of a "
        "SibylWorkspace, with spec.database beside it\n1 error"
    )


def test_a_version_that_is_not_known_is_refused() -> None:
    assert refused(yaml.safe_dump({**body(), "apiVersion": "sibyl.dev/v2"})) == (
        "docs.yaml: apiVersion: sibyl.dev/v2 is not known to this operator; use sibyl.dev/v1alpha1\n1 error"
    )


def test_other_objects_in_the_file_are_left_alone() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "docs-database"}}
    made = render(yaml.safe_dump_all([secret, body()]))
    assert "Secret" not in [manifest["kind"] for manifest in made]
