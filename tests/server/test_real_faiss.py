"""`sibyl serve` with vectors in FAISS, while another process loads and deletes; and without the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from sibyl_operator.observe.pods import LONGEST_WORDS
from tests.support.conditions import eventually
from tests.support.sibyl import Serving, serving, sibyl

FILLER = 30
VECTOR_ONLY = {"search": {"steps": [{"use": "rag.retrieval", "config": {"subtechnique": "vector", "top_k": 3}}]}}
TOOL = {
    "name": "find",
    "description": "Find.",
    "pipeline": "search",
    "parameters": {"query": {"type": "string", "required": True}},
}


def write_workspace(directory: Path, **store: Any) -> Path:
    stores = {"main": {"kind": "faiss", "dsn": "${DATABASE_URL}", **store}}
    caching = {"enabled": True, "memory": {"enabled": True}}
    document = {
        "name": "docs",
        "providers": {"vector_store": stores},
        "pipelines": VECTOR_ONLY,
        "mcp": {"tools": [TOOL]},
        "shops": {"infrastructure": {"config": {"caching": caching}}},
    }
    file = directory / "workspace.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def write_pages(folder: Path) -> Path:
    folder.mkdir()
    for number in range(FILLER):
        (folder / f"recipe-{number}.md").write_text(f"Recipe {number}: flour, water and salt make bread.")
    return folder


def find(server: Serving, query: str) -> list[str]:
    answer = httpx.post(f"{server.api}/mcp/tools/find", json={"query": query}, timeout=30)
    assert answer.status_code == 200, answer.text
    return [source["document"] for source in answer.json()["output"]["sources"]]


def metric(server: Serving, name: str) -> float:
    families = text_string_to_metric_families(httpx.get(f"{server.watch}/metrics").text)
    return next(sample.value for family in families for sample in family.samples if sample.name == name)


def test_what_a_second_process_loads_and_deletes_is_followed_while_serving(database_dsn: str, tmp_path: Path) -> None:
    file, environ = write_workspace(tmp_path, index_type="IVF1,Flat", nprobe=1), {"DATABASE_URL": database_dsn}
    corpus = write_pages(tmp_path / "corpus")

    def ingest() -> None:
        done = sibyl("ingest", "-f", file, corpus, "--json", cwd=tmp_path, environ=environ)
        assert done.code == 0, done.stderr

    ingest()
    with serving(file, environ=environ) as server:
        assert any("+ FAISS" in str(part) for part in server.ready.values())
        index = httpx.get(f"{server.api}/config").json()["index"]
        assert (index["kind"], index["name"], index["rows"]) == ("faiss", "Flat", FILLER)
        assert index["remark"] == f"IVF1,Flat is trained on 39 chunks at least, and there are {FILLER}"
        assert metric(server, "sibyl_faiss_index_chunks") == FILLER
        assert metric(server, "sibyl_faiss_index_standing_in") == 1
        terns = "Which bird flies from pole to pole?"
        assert "tern.md" not in find(server, terns)

        (corpus / "tern.md").write_text("The Arctic tern is a bird that flies from pole to pole.")
        for number in range(10):
            (corpus / f"soup-{number}.md").write_text(f"Soup {number}: onions and stock.")
        ingest()
        eventually(lambda: find(server, terns)[0] == "tern.md")
        eventually(lambda: httpx.get(f"{server.api}/config").json()["index"]["name"] == "IVF1,Flat")
        assert find(server, terns)[0] == "tern.md"
        assert metric(server, "sibyl_faiss_index_chunks") == FILLER + 11
        assert metric(server, "sibyl_faiss_index_standing_in") == 0
        assert metric(server, "sibyl_faiss_index_bytes") > (FILLER + 11) * 4 * 384

        (corpus / "tern.md").unlink()
        ingest()
        eventually(lambda: "tern.md" not in find(server, terns))
        eventually(lambda: metric(server, "sibyl_faiss_index_chunks") == FILLER + 10)
        assert server.stop() == 0


@pytest.mark.parametrize("command", ["serve", "ingest"])
def test_without_the_library_the_start_ends_and_says_how_to_get_it(command: str, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked" / "faiss"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'faiss'\")\n")
    arguments = [str(write_pages(tmp_path / "corpus"))] if command == "ingest" else []
    environ = {"PYTHONPATH": str(blocked.parent), "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    done = sibyl(command, "-f", write_workspace(tmp_path), *arguments, cwd=tmp_path, environ=environ)
    assert done.code != 0
    # What the operator repeats of a pod that does not start.
    last_words = done.stderr.strip().splitlines()[-1][:LONGEST_WORDS]
    assert "pip install 'sibyl-operator[faiss]'" in last_words
    assert "spec.runtime.image" in last_words
    assert "Traceback" not in done.stderr
