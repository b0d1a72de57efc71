"""Chunking as a step: limits of the model, batches, and documents that are dropped because nothing changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sibyl_runtime.errors import StartupError, StepFailed
from tests.support.parts import Parts

STEPS = [
    {"use": "data.load_documents"},
    {"use": "rag.chunking"},
    {"use": "rag.embedding"},
    {"use": "data.store_vectors"},
]


async def test_a_chunk_size_above_what_the_model_reads_names_both(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    parts.document = {"shops": {"rag": {"config": {"chunk_size": 600}}}}
    expected = (
        r"rag\.chunking: chunk_size is 600 tokens, but the embedding model reads at most 512 \(max_tokens\); "
        r"set chunk_size to 512 or less"
    )
    with pytest.raises(StartupError, match=expected):
        await parts.ingest(tmp_path)
    parts.embedder.limit = 128
    parts.document = {}
    with pytest.raises(StartupError, match=r"chunk_size is 256 tokens, .* reads at most 128"):
        await parts.ingest(tmp_path)


async def test_the_subtechnique_decides_whether_headings_cut(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# One\n\nFirst text.\n\n# Two\n\nSecond text.")
    await parts.ingest(tmp_path)
    assert {(hit.heading, hit.content) for hit in await parts.search("text")} == {
        ("One", "# One\n\nFirst text."),
        ("Two", "# Two\n\nSecond text."),
    }
    parts.document = {"shops": {"rag": {"techniques": {"chunking": {"subtechnique": "fixed"}}}}}
    ledger = await parts.ingest(tmp_path)
    assert (ledger.replaced, ledger.unchanged) == (1, 0)
    (hit,) = await parts.search("text")
    assert (hit.heading, hit.content) == ("", "# One\n\nFirst text.\n\n# Two\n\nSecond text.")


async def test_what_is_embedded_is_the_path_and_the_content(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("---\ntitle: Handbook\n---\n## Scaling\n\n" + "It does not scale by itself. " * 30)
    parts.document = {"shops": {"rag": {"config": {"chunk_size": 64, "chunk_overlap": 0}}}}
    await parts.ingest(tmp_path)
    by_position = sorted(parts.embedder.documents, key=lambda text: "##" not in text)
    assert by_position[0].startswith("Handbook\n## Scaling\n\nIt does not scale")
    assert len(by_position) > 3
    assert all(text.startswith("Handbook > Scaling\nIt does not") for text in by_position[1:])


async def test_documents_are_regrouped_into_batches_of_batch_size(parts: Parts, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text(f"text {number}")
    parts.document = {
        "shops": {"data": {"config": {"chunk_size": 1}}, "rag": {"techniques": {"chunking": {"batch_size": 3}}}}
    }
    await parts.ingest(tmp_path)
    assert parts.store.replaced == [["0.txt", "1.txt", "2.txt"], ["3.txt", "4.txt"]]


async def test_a_step_without_the_one_it_needs_is_refused_with_its_name(parts: Parts) -> None:
    """The contract refuses such a pipeline; a condition can still skip the step that was there."""
    steps = [{**step} for step in STEPS]
    steps[0]["condition"] = "false"
    parts.document = {"pipelines": {"ingest": {"steps": steps}}}
    expected = (
        "step `chunking` of pipeline `ingest` needs the result of a `data.load_documents` step; put one before it"
    )
    with pytest.raises(StepFailed, match=expected):
        await parts.run("ingest")


async def test_program_text_is_cut_by_the_ending_of_its_file(parts: Parts, tmp_path: Path) -> None:
    """Each long function is told apart by the reader that its file has, through loading, embedding and the store."""
    body = "\n".join(f"    total = add(total, {number})" for number in range(12))
    (tmp_path / "pay.py").write_text(f"class Account:\n  def pay(self):\n{body}\n  def close(self):\n{body}\n")
    (tmp_path / "pay.js").write_text(f"function pay() {{\n{body}\n}}\n\nfunction close() {{\n{body}\n}}\n")
    columns = ",\n".join(f"  column_{number} integer" for number in range(40))
    (tmp_path / "pay.sql").write_text(f"CREATE TABLE pay (\n{columns}\n);\nCREATE TABLE wide (\n{columns}\n);\n")
    (tmp_path / "pay.md").write_text("# Paying\n\nHow to pay.")
    parts.document = {
        "shops": {"rag": {"config": {"chunk_size": 64}, "techniques": {"chunking": {"subtechnique": "code"}}}}
    }
    await parts.ingest(tmp_path)
    headings = {(hit.document_id, hit.heading) for hit in await parts.search("pay", top_k=100)}
    assert headings == {
        ("pay.py", "class Account"),
        ("pay.py", "class Account > def pay(self)"),
        ("pay.py", "class Account > def close(self)"),
        ("pay.js", "function pay()"),
        ("pay.js", "function close()"),
        ("pay.sql", "CREATE TABLE pay ("),
        ("pay.sql", "CREATE TABLE wide ("),
        ("pay.md", "Paying"),
    }
    assert (await parts.ingest(tmp_path)).unchanged == 4
