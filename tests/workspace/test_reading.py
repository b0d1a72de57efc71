"""Reading a file: what is accepted, and that what is not is named with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from sibyl_runtime.workspace import WorkspaceInvalid, effective_hash, load_document, parse_workspace
from tests.workspace.documents import FULL

RESOURCE = {
    "apiVersion": "sibyl.dev/v1alpha1",
    "kind": "SibylWorkspace",
    "metadata": {"name": "handbook"},
    "spec": {"runtime": {"replicas": 2}, "workspace": FULL},
}


def message(text: str) -> str:
    with pytest.raises(WorkspaceInvalid) as caught:
        load_document("w.yaml", text)
    return str(caught.value)


def test_a_bare_document_is_read_as_it_is() -> None:
    document = load_document("w.yaml", yaml.safe_dump(FULL))
    assert document.raw == FULL
    assert document.source == "w.yaml"
    assert document.resource is None
    assert document.name == "handbook"


def test_a_resource_and_a_bare_document_give_the_same_workspace() -> None:
    bare = load_document("w.yaml", yaml.safe_dump(FULL))
    resource = load_document("r.yaml", yaml.safe_dump(RESOURCE))
    assert resource.raw == bare.raw
    assert resource.resource == RESOURCE
    assert effective_hash(resource.raw) == effective_hash(bare.raw)
    assert parse_workspace(resource.raw) == parse_workspace(bare.raw)


def test_json_is_read_too() -> None:
    assert load_document("w.json", json.dumps(FULL)).raw == FULL


def test_what_json_writes_in_two_halves_is_one_character_and_half_of_one_is_refused() -> None:
    assert load_document("w.json", json.dumps({"name": "a", "description": "b 😀"})).raw["description"] == "b 😀"
    with pytest.raises(WorkspaceInvalid, match="description: holds half of a character"):
        load_document("w.yaml", 'name: a\ndescription: "b \\ud83d"\n')


def test_a_resource_gives_its_name_and_the_lines_of_its_workspace() -> None:
    head = "apiVersion: sibyl.dev/v1alpha1\nkind: SibylWorkspace\nmetadata: {name: a}\n"
    text = f"{head}spec:\n  workspace:\n    mcp:\n      prt: 1\n"
    document = load_document("r.yaml", text)
    assert document.name == "a"
    assert document.lines[("mcp", "prt")] == 7
    with pytest.raises(WorkspaceInvalid) as caught:
        parse_workspace(document.raw, source=document.source, lines=document.lines)
    assert str(caught.value) == "r.yaml: mcp.prt: unknown key. Did you mean port?  (line 7)\n1 error"


def test_a_resource_is_found_among_others() -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
    text = f"---\n{secret}---\n{yaml.safe_dump(RESOURCE)}---\n"
    assert load_document("all.yaml", text).raw == FULL


def test_a_file_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "workspace.yaml"
    path.write_text("name: é\n", encoding="utf-8")
    assert load_document(path).raw == {"name": "é"}
    assert load_document(str(path)).source == str(path)


def test_lines_count_from_one_and_cover_lists() -> None:
    document = load_document("w.yaml", "mcp:\n  tools:\n    - name: a\n    -\n      name: b\ntags: [x,\n  y]\n")
    assert document.lines[("mcp", "tools")] == 2
    assert document.lines[("mcp", "tools", 0, "name")] == 3
    assert document.lines[("mcp", "tools", 1, "name")] == 5
    assert document.lines[("tags", 1)] == 7


def test_a_date_is_text_and_a_merged_key_counts() -> None:
    text = "base: &b {a: 1, b: 2}\nover:\n  <<: *b\n  b: 3\nday: 2024-01-01\n"
    assert load_document("w.yaml", text).raw == {
        "base": {"a": 1, "b": 2},
        "over": {"a": 1, "b": 3},
        "day": "2024-01-01",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "w.yaml: is empty; a workspace document is needed\n1 error"),
        ("# only a comment\n", "w.yaml: is empty; a workspace document is needed\n1 error"),
        ("- a\n", "w.yaml: must be a mapping with keys such as providers and pipelines  (line 1)\n1 error"),
        ("text", "w.yaml: must be a mapping with keys such as providers and pipelines  (line 1)\n1 error"),
        (
            "mcp:\n\tport: 1\n",
            "w.yaml: is not YAML: found character '\\t' that cannot start any token  (line 2)\n1 error",
        ),
        ("a: [1, 2\nb: 3\n", "w.yaml: is not YAML: expected ',' or ']', but got ':'  (line 2)\n1 error"),
        ("a: 1\n b: 2\n", "w.yaml: is not YAML: mapping values are not allowed here  (line 2)\n1 error"),
        ("a: *nowhere\n", "w.yaml: is not YAML: found undefined alias 'nowhere'  (line 1)\n1 error"),
        ("a: 1\nb: \x00\n", "w.yaml: is not YAML: special characters are not allowed  (line 2)\n1 error"),
        (
            "mcp:\n  port: 1\nname: a\nmcp:\n  port: 2\n",
            "w.yaml: mcp: the key is written twice, in lines 1 and 4  (line 4)\n1 error",
        ),
        (
            "mcp:\n  port: 1\n  port: 1\n  host: a\n  host: b\n",
            "w.yaml: mcp.port: the key is written twice, in lines 2 and 3  (line 3)\n"
            "w.yaml: mcp.host: the key is written twice, in lines 4 and 5  (line 5)\n2 errors",
        ),
        ("mcp:\n  on: 1\n", 'w.yaml: mcp: the key on is not text; write "on" in quotes  (line 2)\n1 error'),
        ("1: a\n", 'w.yaml: the key 1 is not text; write "1" in quotes  (line 1)\n1 error'),
        ("a: !!python/name:os.system ''\n", "is not allowed; write a plain value  (line 1)"),
        ("a: !!set {b, c}\n", "w.yaml: a: the tag !!set is not allowed; write a plain value  (line 1)\n1 error"),
        ("a: !!int secret\n", "w.yaml: a: is not a value of its type, int  (line 1)\n1 error"),
        ("a:\n  <<: 1\n", "w.yaml: a: cannot be merged: expected a mapping or list of mappings for merging, but found"),
        ("a: &x\n  b: *x\n", "w.yaml: holds an alias to something that contains it  (line 1)\n1 error"),
        ("kind: Deployment\napiVersion: apps/v1\n", "w.yaml: is of kind Deployment; a workspace document or a Sibyl"),
        (
            "kind: Secret\n---\nkind: Namespace\n---\nname: x\n",
            "w.yaml: holds 3 YAML documents (Secret, Namespace, no kind); exactly one must be of kind SibylWorkspace",
        ),
        (
            "kind: SibylWorkspace\n---\nkind: SibylWorkspace\n",
            "w.yaml: holds 2 YAML documents (SibylWorkspace, SibylWorkspace); exactly one must be of kind SibylWork",
        ),
        (
            "apiVersion: v1\nkind: SibylWorkspace\n",
            "w.yaml: apiVersion: must start with sibyl.dev/, found 'v1'  (line 1)\n1 error",
        ),
        (
            "apiVersion: sibyl.dev/v1alpha1\nkind: SibylWorkspace\nspec:\n  runtime: {}\n",
            "w.yaml: spec.workspace: is required: the workspace document, a mapping  (line 3)\n1 error",
        ),
    ],
)
def test_what_is_no_workspace_is_refused_with_its_line(text: str, expected: str) -> None:
    assert expected in message(text)


def test_many_small_aliases_do_not_make_a_huge_document() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "holds more than 200000 values, aliases counted where they are used" in message("\n".join(lines))


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    with pytest.raises(WorkspaceInvalid) as caught:
        load_document(missing)
    assert str(caught.value) == f"{missing}: cannot be read: No such file or directory\n1 error"
    broken = tmp_path / "latin1.yaml"
    broken.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(WorkspaceInvalid) as caught:
        load_document(broken)
    assert str(caught.value) == f"{broken}: is not UTF-8 text: byte 9 cannot be decoded\n1 error"


def test_a_deeply_nested_file_is_refused() -> None:
    assert "w.yaml: is nested deeper than 100 levels  (line 1)" in message(f"a: {'[' * 120}{']' * 120}")
    assert "is nested too deeply" in message("[" * 5000)
