"""`sibyl workspace validate` and `show`."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from sibyl_runtime.workspace import effective_hash
from tests.cli.conftest import Command

BROKEN = """name: docs
providers:
  vector_store:
    main:
      kind: pgvector
      hnsw_ef_serch: 100
pipelines:
  search:
    steps:
      - use: rag.retrieval
      - use: ai_generation.generation
        condition: ${retrieval.avgscore} < 0.8
"""
SECRETS = """name: docs
providers:
  llm:
    primary: {kind: openai, model: gpt-4o-mini, api_key: "${OPENAI_API_KEY}"}
  vector_store:
    main: {kind: pgvector, dsn: "${DATABASE_URL}"}
mcp:
  port: ${PORT:-8000}
"""
RESOURCE = """apiVersion: sibyl.dev/v1alpha1
kind: SibylWorkspace
metadata: {name: team-docs}
spec:
  workspace: {description: from a cluster}
"""


def test_every_problem_is_printed_with_its_place_and_the_way_out(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "workspace.yaml"
    file.write_text(BROKEN)
    ended = command("workspace", "validate", file)
    assert (ended.code, ended.stdout) == (1, "")
    first, second, count = ended.stderr.splitlines()
    assert first == (
        f"{file}: providers.vector_store.main.hnsw_ef_serch: unknown key. Did you mean hnsw_ef_search?  (line 6)"
    )
    assert second.startswith(f'{file}: pipelines.search.steps[1].condition: "${{retrieval.avgscore}} < 0.8": ')
    assert "it has avg_score, chunks, count, top_score" in second
    assert count == "2 errors"


def test_problems_as_json(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "workspace.yaml"
    file.write_text(BROKEN)
    ended = command("workspace", "validate", "-f", file, "--json")
    assert ended.code == 1
    assert ended.json["valid"] is False
    assert ended.json["problems"][0] == {
        "path": "providers.vector_store.main.hnsw_ef_serch",
        "message": "unknown key. Did you mean hnsw_ef_search?",
        "line": 6,
    }


def test_a_valid_document_is_told_with_what_is_in_it_and_what_it_needs(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "workspace.yaml"
    file.write_text(SECRETS)
    digest = effective_hash(yaml.safe_load(SECRETS))
    ended = command("workspace", "validate", file)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout == (
        f"{file}: valid · docs · 2 pipelines (ingest, search) · 1 tool (search_documents) · "
        f"needs DATABASE_URL, OPENAI_API_KEY from the environment · {digest}\n"
    )
    assert command("workspace", "validate", file, "--json").json["environment"] == {
        "required": ["DATABASE_URL", "OPENAI_API_KEY"],
        "optional": ["PORT"],
    }


def test_a_custom_resource_is_read_as_well(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "resource.yaml"
    file.write_text(RESOURCE)
    assert command("workspace", "validate", file, "--json").json["name"] == "team-docs"


def test_show_prints_what_is_in_force_and_no_secret(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "workspace.yaml"
    file.write_text(SECRETS.replace("${DATABASE_URL}", "${DATABASE_URL:-postgresql://u:s3cret@db/rag}"))
    ended = command("workspace", "show", file)
    assert ended.code == 0
    assert "s3cret" not in ended.stdout
    document = yaml.safe_load(ended.stdout)
    assert document["providers"]["llm"]["primary"]["api_key"] == "${OPENAI_API_KEY}"
    assert sorted(document["pipelines"]) == ["ingest", "search"]
    assert [tool["name"] for tool in document["mcp"]["tools"]] == ["search_documents"]


def test_show_as_json_has_the_hash_of_the_document_as_written(command: Command, workspace: Path) -> None:
    shown = json.loads(command("workspace", "show", "-f", workspace, "--json").stdout)
    assert shown["hash"] == effective_hash({"name": "docs"})


def test_what_is_shown_is_itself_a_valid_document(command: Command, workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "shown.yaml"
    file.write_text(command("workspace", "show", workspace).stdout)
    ended = command("workspace", "validate", file)
    assert ended.code == 0, ended.stderr
