"""The whole way that a user goes: `sibyl ingest` and `sibyl eval` over Cranfield, two configurations side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import cranfield
from tests.support.postgres import PostgresServer
from tests.support.sibyl import sibyl

WORKSPACE = """
name: cranfield
providers:
  embedding: {main: {kind: sentence-transformer, precision: int8}}
  vector_store: {main: {kind: pgvector, dsn: "${DATABASE_URL}"}}
pipelines:
  search:
    steps: [{use: rag.retrieval, config: {top_k: "${top_k}", subtechnique: SUBTECHNIQUE}}]
    parameters: {query: {type: string}, top_k: {type: integer}}
"""

pytestmark = [
    pytest.mark.cranfield,
    pytest.mark.timeout(900),
    pytest.mark.skipif(cranfield.missing() is not None, reason=f"{cranfield.missing()} is missing"),
]


def test_fusing_words_and_meaning_is_shown_to_be_better(
    postgres_server: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cranfield.write_json_lines(tmp_path / "abstracts.jsonl")
    judged = write_questions(tmp_path / "questions.jsonl")
    for subtechnique in ("vector", "hybrid"):
        (tmp_path / f"{subtechnique}.yaml").write_text(WORKSPACE.replace("SUBTECHNIQUE", subtechnique))
    dsn = postgres_server.create_database()
    environ = {"DATABASE_URL": dsn}
    ingested = sibyl("ingest", "-f", "hybrid.yaml", "abstracts.jsonl", cwd=tmp_path, environ=environ, timeout=600)
    assert ingested.code == 0, ingested.stderr
    found = sibyl(
        "eval", judged, "-f", "hybrid.yaml", "--compare", "vector.yaml", "--top-k", "40",
        "--fail-below", "ndcg@10=0.42", "--json", cwd=tmp_path, environ=environ, timeout=300,
    )  # fmt: skip
    assert found.code == 0, found.stderr
    hybrid, vector = (run["measures"]["ndcg@10"] for run in found.json["runs"])
    with capsys.disabled():
        print(f"\ncranfield by sibyl eval: hybrid {hybrid}, vector {vector}, {found.json['differences']['ndcg@10']}")
    assert vector["value"] >= 0.39
    assert hybrid["low"] < hybrid["value"] < hybrid["high"]
    assert found.json["differences"]["ndcg@10"]["high"] < 0, "vector less hybrid"
    postgres_server.drop_database(dsn)


def write_questions(path: Path) -> Path:
    """The questions whose judgements leave a relevant abstract with a text."""
    documents = {abstract.id for abstract in cranfield.abstracts() if abstract.text}
    judged = cranfield.judgements()
    with path.open("w", encoding="utf-8") as file:
        for number, text in cranfield.questions().items():
            relevant = {document: grade for document, grade in judged[number].items() if document in documents}
            file.write(json.dumps({"id": number, "question": text, "relevant": relevant}) + "\n")
    return path
