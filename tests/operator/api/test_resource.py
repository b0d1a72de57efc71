"""Reading a custom resource: everything is understood, or everything that is wrong is listed."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sibyl_operator.api.resource import InvalidResource, WorkspaceResource, read_resource, unknown_fields
from sibyl_operator.api.structure import UnknownField
from tests.operator.api.facts import body, full_body, problems, resource, valid


def test_a_valid_resource_is_read_with_its_identity() -> None:
    manifest = body()
    manifest["metadata"] |= {"labels": {"a": "b"}, "annotations": {"c": "d"}}
    manifest["status"] = {"observedGeneration": 2}
    found = valid(manifest)
    assert (found.namespace, found.name, found.uid, found.generation) == ("team", "docs", "uid-1", 3)
    assert (found.labels, found.annotations, found.deleting) == ({"a": "b"}, {"c": "d"}, False)
    assert found.previous_status == {"observedGeneration": 2}
    assert found.raw_document == {}
    assert found.document.mcp.port == 8000


def test_a_resource_from_a_file_has_no_uid_and_the_default_namespace() -> None:
    manifest = body()
    manifest["metadata"] = {"name": "docs"}
    found = valid(manifest)
    assert (found.namespace, found.uid, found.generation) == ("default", "", 0)


def test_a_resource_that_is_going_is_seen_to_go() -> None:
    manifest = body()
    manifest["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert valid(manifest).deleting


def test_the_document_is_held_word_for_word() -> None:
    manifest = full_body()
    found = valid(manifest)
    assert found.raw_document == manifest["spec"]["workspace"]


def test_reading_leaves_the_object_alone() -> None:
    manifest = full_body()
    before = copy.deepcopy(manifest)
    read_resource(manifest)
    assert manifest == before


@pytest.mark.parametrize(
    ("workspace", "expected"),
    [
        ({"mcp": {"prot": 1}}, "spec.workspace.mcp.prot: unknown key. Did you mean port?"),
        (
            {"pipelines": {"search": {"steps": [{"use": "rag.retrieval", "config": {"topk": 3}}]}}},
            "spec.workspace.pipelines.search.steps[0].config.topk: unknown key. Did you mean top_k?",
        ),
        (
            {"mcp": {"port": "8000"}},
            'spec.workspace.mcp.port: must be a whole number, found "8000"; write it without quotes',
        ),
    ],
)
def test_problems_of_the_document_are_seen_from_the_resource(workspace: dict[str, Any], expected: str) -> None:
    assert expected in problems(body(workspace=workspace))


def test_a_technique_that_is_not_available_is_refused_by_name() -> None:
    steps = [{"use": "rag.retrieval"}, {"use": "rag.validation"}]
    (found,) = problems(body(workspace={"pipelines": {"search": {"steps": steps}}}))
    assert found.startswith("spec.workspace.pipelines.search.steps[1].use: ")
    assert "is not available in this version; available: " in found
    assert "rag.validation" in found


def test_all_problems_of_the_document_are_listed() -> None:
    found = problems(body(workspace={"mcp": {"host": "localhost"}, "providers": {"llm": {"a": {"kind": "mock"}}}}))
    assert len(found) == 1
    assert "mock" in found[0]


@pytest.mark.parametrize("spec", [None, [], "text"])
def test_a_resource_without_a_spec_is_refused(spec: Any) -> None:
    manifest = body()
    manifest["spec"] = spec
    assert problems(manifest) == ["spec: is required and must be a mapping"]


@pytest.mark.parametrize("field", ["workspace", "database"])
def test_a_field_that_is_required_is_asked_for(field: str) -> None:
    manifest = body()
    del manifest["spec"][field]
    assert problems(manifest) == [f"spec.{field}: is required"]


def test_an_invalid_resource_keeps_what_its_status_said() -> None:
    manifest = body(database={"provider": "External"})
    manifest["status"] = {"endpoints": {"http": "http://x"}}
    found = read_resource(manifest)
    assert isinstance(found, InvalidResource)
    assert (found.namespace, found.name, found.uid, found.generation) == ("team", "docs", "uid-1", 3)
    assert found.previous_status == {"endpoints": {"http": "http://x"}}


def test_fields_of_a_newer_crd_are_ignored_and_named() -> None:
    manifest = body()
    manifest["spec"] |= {"slo": {"window": "30d"}}
    manifest["spec"]["runtime"] |= {"spot": True}
    found = read_resource(manifest)
    assert isinstance(found, WorkspaceResource)
    assert {field.location for field in found.unknown_fields} == {("runtime", "spot"), ("slo",)}
    assert unknown_fields(manifest) == found.unknown_fields


def test_unknown_fields_know_what_stands_at_their_place() -> None:
    manifest = body(networkPolicy={"enabled": True, "mode": "strict"})
    assert unknown_fields(manifest) == (UnknownField(("networkPolicy", "mode"), ("enabled",)),)


def test_the_document_is_never_pruned() -> None:
    assert unknown_fields(body(workspace={"anything": 1})) == ()
    assert problems(body(workspace={"anything": 1}))


def test_a_document_of_the_wrong_type_is_refused() -> None:
    assert problems(body(workspace=[])) == ["spec.workspace: should be a mapping"]


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        (None, ""),
        ([], ""),
        ({}, ""),
        ({"name": 5}, ""),
        ({"name": ""}, ", found ''"),
        ({"name": "Docs_1"}, ", found 'Docs_1'"),
        ({"name": "-docs"}, ", found '-docs'"),
    ],
)
def test_a_resource_without_a_usable_name_is_refused(metadata: Any, found: str) -> None:
    manifest = {**body(), "metadata": metadata}
    assert problems(manifest) == [
        f"metadata.name: should be the name of an object: lower-case letters, digits, - and .{found}"
    ]


def test_equal_resources_are_read_equal() -> None:
    assert resource() == resource()
